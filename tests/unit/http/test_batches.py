from __future__ import annotations

import datetime as dt
import math

import pytest
from fleetlake.http.batches import bisect
from fleetlake.reading import Page


class Vendor:
    """Refuses every group that holds a poisoned vehicle."""

    def __init__(self, *poisoned):
        self.poisoned = set(poisoned)
        self.asked = []

    def __call__(self, scopes):
        self.asked.append(tuple(scopes))
        refusal = "no accessible vehicle" if self.poisoned & set(scopes) else ""
        now = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)
        return Page(body=b"{}", request="POST /report", status=200, content_type="", fetched_at=now, rows=0, refusal=refusal)


SCOPES = [str(number) for number in range(200)]


def named(pages):
    return [scope for page in pages for scope in page.scopes]


def test_a_batch_without_trouble_is_one_request():
    vendor = Vendor()
    (page,) = bisect(SCOPES, None, vendor)
    assert (page.scopes, page.is_last, page.cursor, page.refusal) == (tuple(SCOPES), True, "200", "")
    assert len(vendor.asked) == 1


@pytest.mark.parametrize("poisoned", ["0", "57", "100", "199"])
def test_one_refused_vehicle_is_found_in_twice_the_logarithm(poisoned):
    vendor = Vendor(poisoned)
    pages = list(bisect(SCOPES, None, vendor))
    assert named(pages) == SCOPES, "each vehicle is answered for once, in order"
    assert [page.scopes for page in pages if page.refusal] == [(poisoned,)]
    assert [page.is_last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert len(vendor.asked) - 1 <= 2 * math.log2(len(SCOPES)) + 2


def test_several_refused_vehicles_are_each_found():
    pages = list(bisect(SCOPES, None, Vendor("3", "4", "150")))
    assert [page.scopes for page in pages if page.refusal] == [("3",), ("4",), ("150",)]
    assert named(pages) == SCOPES


def test_a_batch_refused_as_a_whole_costs_little_more_than_a_request_per_vehicle():
    fifty = SCOPES[:50]
    vendor = Vendor(*fifty)
    pages = list(bisect(fifty, None, vendor))
    assert [page.scopes for page in pages] == [(scope,) for scope in fifty]
    assert all(page.refusal for page in pages)
    assert len(vendor.asked) <= 50 + math.ceil(math.log2(50)) + 3


def test_many_refused_in_a_row_do_not_end_the_batches_of_those_after_them():
    vendor = Vendor(*SCOPES[:20])
    pages = list(bisect(SCOPES, None, vendor))
    assert named(pages) == SCOPES
    assert [page.scopes for page in pages if page.refusal] == [(scope,) for scope in SCOPES[:20]]
    assert len(vendor.asked) < 20 + 20


def test_a_resumed_batch_asks_only_about_the_rest():
    first = next(iter(bisect(SCOPES, None, Vendor("57"))))
    vendor = Vendor("57")
    rest = list(bisect(SCOPES, first.cursor, vendor))
    assert named([first, *rest]) == SCOPES
    assert all(not set(asked) & set(first.scopes) for asked in vendor.asked)
