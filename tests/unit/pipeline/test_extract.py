from __future__ import annotations

from dataclasses import replace

import pytest
from fleetlake.errors import CredentialsRejected, IncompleteAnswer, ScopeUnavailable, VendorUnavailable
from fleetlake.pipeline.extract import Read, extract
from fleetlake.window import Window

from tests.unit.pipeline.scripted import EVENTS, ScriptedSource, event, key, page

PAGES = [page(0, [event(1)]), page(1, [event(2)]), page(2, [event(3)], last=True)]


def reads(*scopes):
    return [Read(feed=EVENTS, key=key(scope)) for scope in scopes]


def run(raw, source, *scopes):
    return list(extract(raw, source, reads(*scopes)))


def test_all_pages_are_committed_in_order(raw):
    (result,) = run(raw, ScriptedSource({"1": PAGES}), "1")
    assert result.is_complete
    assert [raw.body(ref) for ref in result.pages] == [item.body for item in PAGES]
    assert [ref.cursor_in for ref in result.pages] == [None, "1", "2"]


def test_read_that_broke_goes_on_after_its_last_committed_page(raw):
    broken = ScriptedSource({"1": [*PAGES[:2], VendorUnavailable("connection lost")]})
    (first,) = run(raw, broken, "1")
    assert isinstance(first.error, VendorUnavailable)
    assert not first.is_complete

    healthy = ScriptedSource({"1": PAGES})
    (second,) = run(raw, healthy, "1")
    assert second.is_complete
    assert healthy.asked == [("events", "1", "2")], "only the missing page is asked for"
    assert (len(second.pages), second.fetched) == (3, 1)


def test_complete_read_asks_nothing(raw):
    run(raw, ScriptedSource({"1": PAGES}), "1")
    again = ScriptedSource({"1": PAGES})
    (result,) = run(raw, again, "1")
    assert result.is_complete
    assert again.asked == []


def test_page_of_a_faster_worker_is_adopted_and_followed(raw):
    class Overtaken(ScriptedSource):
        """Another worker commits page 0 with a different cursor while this one is asking."""

        def pages(self, feed, **kwargs):
            if not self.asked:
                other = page(0, [event(1), event(2)])
                raw.commit(key(), 0, other.__class__(**{**vars(other), "cursor": "2"}), None)
            yield from super().pages(feed, **kwargs)

    source = Overtaken({"1": PAGES})
    (result,) = run(raw, source, "1")
    assert [cursor for _, _, cursor in source.asked] == [None, "2"]
    assert [raw.body(ref) for ref in result.pages][1:] == [PAGES[2].body]


def test_answer_that_ends_without_its_last_page_is_incomplete_and_keeps_its_pages(raw):
    (result,) = run(raw, ScriptedSource({"1": PAGES[:2]}), "1")
    assert isinstance(result.error, IncompleteAnswer)
    assert len(result.pages) == 2


def test_one_failing_scope_stops_no_other(raw):
    source = ScriptedSource({"1": PAGES, "2": [ScopeUnavailable("gone")], "3": PAGES})
    assert [(item.read.scope, item.is_complete) for item in run(raw, source, "1", "2", "3")] == [
        ("1", True),
        ("2", False),
        ("3", True),
    ]


def test_vendor_that_fails_for_scope_after_scope_is_left_alone(raw):
    source = ScriptedSource({str(number): [VendorUnavailable("502")] for number in range(50)})
    results = run(raw, source, *source.script)
    assert len(results) == len(source.asked) == 3


def test_a_vehicle_of_which_no_day_can_be_read_is_one_failure_and_its_other_days_come_last(raw):
    days = [Window.day(f"2026-11-{day}") for day in range(10, 16)]
    chains = [Read(feed=EVENTS, key=key(scope, window=day)) for scope in ("1", "2", "3") for day in days]
    source = ScriptedSource({"1": [VendorUnavailable("500")], "2": PAGES, "3": PAGES})
    results = list(extract(raw, source, chains))
    assert {scope: sum(item.is_complete for item in results if item.read.scope == scope) for scope in "123"} == {
        "1": 0,
        "2": 6,
        "3": 6,
    }
    assert [scope for _, scope, _ in source.asked] == ["1", *"222222", *"333333", "1", "1", "1"]


def test_days_of_a_vehicle_that_work_are_read_although_its_first_one_does_not(raw):
    class OneBadDay(ScriptedSource):
        def pages(self, feed, *, window, **kwargs):
            if window == Window.day("2026-11-10"):
                raise VendorUnavailable("500")
            return super().pages(feed, window=window, **kwargs)

    days = [Window.day(f"2026-11-{day}") for day in range(10, 16)]
    results = list(extract(raw, OneBadDay({"1": PAGES}), [Read(feed=EVENTS, key=key(window=day)) for day in days]))
    assert [item.is_complete for item in results] == [False] + [True] * 5


def test_vehicles_that_cannot_be_read_do_not_make_the_vendor_look_down(raw):
    script = {str(number): [ScopeUnavailable("not ours")] for number in range(5)}
    results = run(raw, ScriptedSource({**script, "9": PAGES}), *script, "9")
    assert [item.is_complete for item in results] == [False] * 5 + [True]


def test_wrong_configuration_stops_at_once(raw):
    with pytest.raises(CredentialsRejected):
        run(raw, ScriptedSource({"1": [CredentialsRejected("password")], "2": PAGES}), "1", "2")


class BatchVendor:
    """Answers for several vehicles at once; refuses those it must not show."""

    def __init__(self, refused=(), breaks_after=None):
        self.refused = refused
        self.breaks_after = breaks_after

    def batch_pages(self, feed, *, scopes, window, cursor):
        for number, scope in enumerate(scopes):
            if number < int(cursor or 0):
                continue
            if number == self.breaks_after:
                raise VendorUnavailable("connection lost")
            yield replace(
                page(number, [event(int(scope))], last=number == len(scopes) - 1),
                scopes=(scope,),
                cursor=str(number + 1),
                refusal="access denied" if scope in self.refused else "",
            )

    def close(self):
        pass


def batch_read():
    return Read(feed=replace(EVENTS, batch=50), key=key("batch-1"), scopes=("1", "2", "3"))


def test_refused_vehicle_of_a_batch_is_reported_and_the_others_are_read(raw):
    (result,) = extract(raw, BatchVendor(refused=("2",)), [batch_read()])
    assert result.is_complete
    assert (result.answered, result.refused) == (("1", "3"), {"2": "access denied"})
    assert isinstance(result.error, ScopeUnavailable)
    assert "2: access denied" in str(result.error)


def test_broken_batch_keeps_the_vehicles_that_were_answered(raw):
    (first,) = extract(raw, BatchVendor(breaks_after=2), [batch_read()])
    assert isinstance(first.error, VendorUnavailable)
    assert first.answered == ("1", "2")
    (second,) = extract(raw, BatchVendor(), [batch_read()])
    assert (second.is_complete, second.fetched, second.answered) == (True, 1, ("1", "2", "3"))
