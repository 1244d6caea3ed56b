from __future__ import annotations

import pytest
from fleetlake.errors import ConfigError, CursorStuck
from fleetlake.http.pagination import RevisionPaginator


class Vendor:
    """Revisions behind a minimum filter that may be inclusive or exclusive, with pages as a fault wants them."""

    def __init__(self, revisions: list[str], *, inclusive: bool) -> None:
        self.revisions = revisions
        self.inclusive = inclusive
        self.asked: list[tuple[str | None, int]] = []

    def fetch(self, cursor: str | None, take: int) -> tuple[list[str], list[str]]:
        self.asked.append((cursor, take))
        keep = [
            r for r in self.revisions if cursor is None or (r.lower() >= cursor if self.inclusive else r.lower() > cursor)
        ]
        page = self.spoil(keep[:take], len(self.asked))
        return page, page

    def spoil(self, page: list[str], _number: int) -> list[str]:
        return page


def read(
    vendor: Vendor, cursor: str | None = None, take: int = 3, max_take: int = 10
) -> list[tuple[list[str], str | None, bool]]:
    chain = RevisionPaginator(vendor.fetch, take=take, max_take=max_take, where="telemetry v1")
    steps = [(step.page, step.cursor, step.is_last) for step in chain.run(cursor)]
    assert chain.pages == len(vendor.asked)
    return steps


REVISIONS = [f"{number:04x}" for number in range(10)]


@pytest.mark.parametrize("inclusive", [True, False])
@pytest.mark.parametrize("take", [1, 2, 3, 9, 10])
@pytest.mark.parametrize("count", [0, 1, 3, 9, 10])
def test_both_readings_of_minimum_bring_every_row_and_end(inclusive: bool, take: int, count: int) -> None:
    steps = read(Vendor(REVISIONS[:count], inclusive=inclusive), take=take)
    assert sorted({revision for page, _, _ in steps for revision in page}) == REVISIONS[:count]
    assert [last for _, _, last in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1][1] == (REVISIONS[count - 1] if count else None)


@pytest.mark.parametrize("inclusive", [True, False])
def test_a_chain_goes_on_after_its_cursor(inclusive: bool) -> None:
    steps = read(Vendor(REVISIONS, inclusive=inclusive), cursor="0006")
    rows = {revision for page, _, _ in steps for revision in page}
    assert {"0007", "0008", "0009"} <= rows <= {"0006", "0007", "0008", "0009"}
    assert steps[-1] == (["0009"] if inclusive else [], "0009", True)


def test_a_short_page_never_ends_a_chain() -> None:
    class Short(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return page[: max(1, len(page) // 2)] if number == 2 else page

    steps = read(Short(REVISIONS, inclusive=False))
    assert sorted({revision for page, _, _ in steps for revision in page}) == REVISIONS


def test_take_one_with_an_inclusive_minimum_asks_for_more() -> None:
    vendor = Vendor(REVISIONS[:3], inclusive=True)
    read(vendor, take=1)
    assert vendor.asked == [(None, 1), ("0000", 1), ("0000", 2), ("0001", 2), ("0002", 2)]


def test_case_does_not_matter_and_the_page_stays_as_it_came() -> None:
    steps = read(Vendor(["000A", "000b", "000C"], inclusive=True), take=2)
    assert steps[0] == (["000A", "000b"], "000b", False)
    assert steps[-1][1] == "000c"


def test_revisions_are_compared_as_text_not_as_numbers() -> None:
    assert read(Vendor(["10", "9"], inclusive=False), take=1)[-1][1] == "9"


def test_order_inside_a_page_does_not_matter() -> None:
    class Shuffled(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return page[::-1]

    assert read(Shuffled(REVISIONS, inclusive=True))[-1][1:] == ("0009", True)


def test_a_page_repeated_once_is_asked_for_again() -> None:
    class Repeating(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return REVISIONS[0:3] if number == 3 else page

    steps = read(Repeating(REVISIONS, inclusive=False))
    assert [page for page, _, _ in steps] == [REVISIONS[0:3], REVISIONS[3:6], REVISIONS[6:10], []]


def test_a_short_page_repeated_does_not_pass_for_the_end() -> None:
    class Repeating(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return ["0000", "0001"] if number == 3 else page

    steps = read(Repeating(REVISIONS, inclusive=False))
    assert sorted({revision for page, _, _ in steps for revision in page}) == REVISIONS


@pytest.mark.parametrize("page", [REVISIONS[:3], REVISIONS[:1]])
def test_a_cursor_that_keeps_going_back_is_an_error_and_no_loop(page: list[str]) -> None:
    class Stuck(Vendor):
        def spoil(self, found: list[str], number: int) -> list[str]:
            return found if number == 1 else page

    vendor = Stuck(REVISIONS, inclusive=True)
    with pytest.raises(CursorStuck, match="telemetry v1"):
        read(vendor)
    assert len(vendor.asked) < 8


def test_full_pages_without_progress_are_an_error_and_no_loop() -> None:
    class Stuck(Vendor):
        def spoil(self, found: list[str], number: int) -> list[str]:
            return ["0005"] * self.asked[-1][1]

    with pytest.raises(CursorStuck, match="nothing beyond the cursor 0005"):
        read(Stuck([], inclusive=True), cursor="0005")


def test_a_filter_that_is_ignored_is_noticed() -> None:
    class Deaf(Vendor):
        def fetch(self, cursor: str | None, take: int) -> tuple[list[str], list[str]]:
            return super().fetch(None, take)

    with pytest.raises(CursorStuck):
        read(Deaf(REVISIONS, inclusive=True), max_take=3)


@pytest.mark.parametrize(("take", "max_take"), [(0, 10), (11, 10)])
def test_take_outside_its_range_is_refused(take: int, max_take: int) -> None:
    with pytest.raises(ConfigError):
        RevisionPaginator(Vendor([], inclusive=True).fetch, take=take, max_take=max_take, where="x")


def test_an_empty_page_of_an_inclusive_vendor_does_not_pass_for_the_end() -> None:
    class Lossy(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return [] if number == 3 else page

    steps = read(Lossy(REVISIONS, inclusive=True))
    assert sorted({revision for page, _, _ in steps for revision in page}) == REVISIONS


def test_a_page_that_lost_its_first_rows_is_asked_for_again() -> None:
    class Lossy(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return page[-1:] if number == 3 else page

    steps = read(Lossy(REVISIONS, inclusive=True))
    assert sorted({revision for page, _, _ in steps for revision in page}) == REVISIONS


def test_a_vendor_that_stays_empty_where_its_own_row_should_be_is_an_error() -> None:
    class Gone(Vendor):
        def spoil(self, page: list[str], number: int) -> list[str]:
            return [] if number > 2 else page

    with pytest.raises(CursorStuck, match="lacks the row of the cursor"):
        read(Gone(REVISIONS, inclusive=True))
