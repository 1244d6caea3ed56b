"""``/reports/…``: which positions and events go into which report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fleetlake.sandbox.powunity import reports
from fleetlake.sandbox.powunity.customers import Bike, Customer
from fleetlake.sandbox.powunity.feed import Feed
from fleetlake.sandbox.powunity.model import SECOND
from fleetlake.sandbox.powunity.query import Query


class Report:
    """One report about one bike."""

    def __init__(self, feed: Feed, customer: Customer, bike: Bike, query: Query, start: int, end: int) -> None:
        self._feed = feed
        self._customer = customer
        self._bike = bike
        self._query = query
        self._start, self._end = start, end
        self._fast = (end - start) // SECOND > customer.assumptions.fast_s

    def trips(self) -> list[dict[str, Any]]:
        """``/reports/trips``."""
        name = self._customer.driver_name
        return [reports.trip_item(span, self._bike.name, name) for span in self._spans(trips=True)]

    def stops(self) -> list[dict[str, Any]]:
        """``/reports/stops``."""
        return [reports.stop_item(span, self._bike.name) for span in self._spans(trips=False)]

    def _spans(self, *, trips: bool) -> list[reports.Span]:
        if self._fast:
            events = self._feed.events(self._bike, self._start, self._end)
            return reports.fast_spans(events, lambda wanted: self._feed.position(self._bike, wanted), trips=trips)
        positions = self._feed.positions(self._bike, self._start, self._end)
        return reports.slow_spans(positions, trips=trips, limits=self._customer.assumptions.thresholds)

    def summary(self) -> list[dict[str, Any]]:
        """``/reports/summary``."""
        daily = self._query.flag("daily")
        pieces = reports.day_pieces(self._start, self._end) if daily else [(self._start, self._end)]
        items = (
            reports.summary_item(self._feed.positions(self._bike, *piece), self._bike.name, fast=self._fast)
            for piece in pieces
        )
        return [item for item in items if item]

    def route(self) -> list[dict[str, Any]]:
        """``/reports/route``."""
        return [position.as_json() for position in self._feed.positions(self._bike, self._start, self._end)]

    def events(self) -> list[dict[str, Any]]:
        """``/reports/events``."""
        wanted = self._query.texts("type")
        return [
            event.as_json()
            for event in self._feed.events(self._bike, self._start, self._end)
            if not wanted or "allEvents" in wanted or event.type in wanted
        ]

    def combined(self) -> list[dict[str, Any]]:
        """``/reports/combined``."""
        positions = self._feed.positions(self._bike, self._start, self._end)
        return [reports.combined_item(self._bike.id, positions, self._feed.events(self._bike, self._start, self._end))]


REPORTS: dict[str, Callable[[Report], list[dict[str, Any]]]] = {
    "trips": Report.trips,
    "stops": Report.stops,
    "summary": Report.summary,
    "events": Report.events,
    "route": Report.route,
    "combined": Report.combined,
}
