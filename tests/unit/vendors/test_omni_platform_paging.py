from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from typing import cast

import pytest
from fleetlake.errors import Retriable
from fleetlake.http.answers import Answer
from fleetlake.reading import FLEET
from fleetlake.vendors.omni_platform import decode
from fleetlake.vendors.omni_platform.client import OmniClient
from fleetlake.vendors.omni_platform.config import OmniConfig
from fleetlake.vendors.omni_platform.paging import Listed, Placed, whole_pass
from fleetlake.vendors.omni_platform.source import OmniSource
from fleetlake.window import Window


class List:
    """A vendor's list: what it holds when it is asked for the n-th time."""

    def __init__(self, contents: Callable[[int], Sequence[str]], cap: int = 100) -> None:
        self.contents = contents
        self.cap = cap
        self.asked: list[tuple[int, int]] = []

    def __call__(self, offset: int, limit: int) -> Listed[tuple[str, ...]]:
        items = self.contents(len(self.asked))
        self.asked.append((offset, limit))
        page = tuple(items[offset : offset + min(limit, self.cap)])
        return Listed(page, len(items), page)


LETTERS = "abcdefghij"


def read(ask: List, page_size: int = 4, restarts: int = 2) -> list[Placed[tuple[str, ...]]]:
    return whole_pass(ask, page_size=page_size, max_restarts=restarts, where="letters")


def letters(placed: list[Placed[tuple[str, ...]]]) -> str:
    return "".join(sorted({one for item in placed for one in item.page}))


def test_pages_share_a_row_and_together_hold_everything() -> None:
    ask = List(lambda _: LETTERS)
    placed = read(ask)
    assert ["".join(item.page) for item in placed] == ["abcd", "defgh", "hij"]
    assert [item.offset for item in placed] == [4, 8, 10]
    assert [item.rows for item in placed] == [4, 5, 3]
    assert ask.asked == [(0, 4), (3, 5), (7, 5)]


def test_nothing_is_one_whole_answer() -> None:
    placed = read(List(lambda _: ""))
    assert [(item.rows, item.offset, item.total) for item in placed] == [(0, 0, 0)]


def test_a_shorter_page_than_asked_for_is_not_the_end() -> None:
    assert letters(read(List(lambda _: LETTERS, cap=3), page_size=8)) == LETTERS


def test_an_insertion_begins_the_pass_again() -> None:
    ask = List(lambda n: "acdefghij" if n == 0 else LETTERS)
    assert letters(read(ask)) == LETTERS
    assert ask.asked[2] == (0, 4)


def test_rows_of_an_abandoned_pass_are_gone() -> None:
    assert letters(read(List(lambda n: "aXbcdefghij" if n == 0 else LETTERS))) == LETTERS


def test_a_shift_under_an_unchanged_count_begins_the_pass_again() -> None:
    """``b`` went and ``k`` came: by offset alone ``e`` would be lost, and the count says nothing."""
    after = "acdefghijk"
    assert letters(read(List(lambda n: LETTERS if n == 0 else after))) == after


def test_a_row_that_comes_twice_begins_the_pass_again() -> None:
    assert letters(read(List(lambda n: "abcdebghij" if n < 2 else LETTERS))) == LETTERS


def test_an_empty_page_before_the_end_does_not_end_the_list() -> None:
    ask = List(lambda n: LETTERS, cap=0)
    with pytest.raises(Retriable, match="0 rows came, totalCount is 10"):
        read(ask)
    assert len(ask.asked) == 3


def test_a_list_that_always_moves_is_given_up_after_the_restarts() -> None:
    ask = List(lambda n: LETTERS[: 5 + n % 2])
    with pytest.raises(Retriable, match="moved during each of 3 passes: totalCount went from") as raised:
        read(ask)
    assert len(ask.asked) == 6
    assert raised.value.retry_after == 60


def test_answers_of_a_pass_share_a_seal_that_no_pass_over_other_rows_has() -> None:
    one, same, other = (read(List(lambda _, items=items: items)) for items in (LETTERS, LETTERS, "abcdefghik"))
    assert {item.seal for item in one} == {item.seal for item in same}
    assert len({item.seal for item in [*one, *other]}) == 2


def test_rows_without_an_id_are_counted_and_passed_on() -> None:
    def ask(offset: int, limit: int) -> Listed[str]:
        return Listed("page", 3, [None, None, None][offset : offset + limit])

    placed = whole_pass(ask, page_size=2, max_restarts=0, where="rows")
    assert [item.offset for item in placed] == [2, 3]


class Workspace:
    """A client whose list holds what ``letters`` says."""

    config = OmniConfig(token="unused", page_size=2)

    def __init__(self, letters: str) -> None:
        self.letters = letters

    def activity_ttl(self) -> dt.timedelta:
        return dt.timedelta(days=90)

    def events(self, window: Window, *, offset: int, limit: int) -> Answer:
        assert window == HOUR
        return self.listed("events", offset=offset, limit=limit)

    def listed(self, name: str, *, offset: int, limit: int) -> Answer:
        items = [{"id": letter} for letter in self.letters[offset : offset + limit]]
        body = {"data": {name: {"totalCount": len(self.letters), "collectionItems": items}}}
        return Answer(status=200, headers={}, body=json.dumps(body).encode(), request="POST /", fetched_at=HOUR.end)


HOUR = Window.parse("2026-11-19T06:00Z", "2026-11-19T07:00Z")


@pytest.mark.parametrize(("feed", "window"), [("events", HOUR), ("cameras", None)])
def test_a_list_that_moved_under_its_count_while_nobody_read_loses_nothing(feed: str, window: Window | None) -> None:
    """Killed after the first page; then ``e`` goes and ``x`` comes before all others: ``totalCount`` says nothing."""
    workspace = Workspace("abcde")
    source = OmniSource(cast("OmniClient", workspace), now=lambda: HOUR.end + dt.timedelta(hours=3))
    first = next(source.pages(feed, scope=FLEET, window=window, cursor=None))
    workspace.letters = "xabcd"
    rest = list(source.pages(feed, scope=FLEET, window=window, cursor=first.cursor))
    assert {one for page in rest for one in decode.rows(feed, page.body).ids()} == set("xabcd")
    assert rest[-1].is_last
    assert first.cursor not in {page.cursor for page in rest}, "pages of two passes are never taken for one"
