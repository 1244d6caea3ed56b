"""Queries of the event service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omni_platform.happenings import Event, Happenings, data_of
from fleetlake.sandbox.omni_platform.listing import Item, bounds, counted, page, spelled
from fleetlake.sandbox.omni_platform.premises import Customer


class EventQueries:
    """Root of the event service for one customer.

    Args:
        happenings: the events.
        customer: who asks.
        answers: how often each window was asked for so far, by customer and window: a moving set moves with it.
    """

    def __init__(self, happenings: Happenings, customer: Customer, answers: Counter[tuple[Any, ...]]) -> None:
        self._happenings = happenings
        self._assumptions = happenings.premises.assumptions
        self._customer = customer
        self._answers = answers

    def root(self) -> Item:
        """Resolvers by field."""
        return {"events": self.events, "eventsFilters": self.filters, "endpoints": self.endpoints}

    def events(
        self,
        _info: Any,
        filters: Mapping[str, Any] | None = None,
        order: Mapping[str, Any] | None = None,
        pagination: Mapping[str, Any] | None = None,
    ) -> Item:
        """``events`` (page 2.1)."""
        filters, order = filters or {}, order or {}
        start, end = bounds(filters.get("date"))
        key = (self._customer.name, start, end)
        round_ = self._answers[key]
        self._answers[key] += 1
        pages = pagination or order.get("pagination") or {}
        found = [event for event in self._candidates(filters, start, end) if _fits(event, filters)]
        found = self._moving(found, round_, pages.get("limit") or self._assumptions.limit_default)
        is_shaky = self._assumptions.unstable_ties
        found.sort(key=lambda event: (event.date, number(event.id, round_) if is_shaky else event.id))
        if order.get("date") == "DESC":
            found.reverse()
        shown = page(found, pages.get("offset"), pages.get("limit"), self._assumptions)
        return counted(found, shown, self.tell)

    def _candidates(self, filters: Mapping[str, Any], start: int | None, end: int | None) -> Sequence[Event]:
        for name in ("id", "activityId"):
            wanted = (filters.get(name) or {}).get("exact")
            if wanted is not None:
                in_time = self._happenings.find(self._customer, wanted)
                return [e for e in in_time if (start is None or e.date >= start) and (end is None or e.date < end)]
        return list(self._happenings.visible(self._customer, start, end))

    def _moving(self, found: list[Event], round_: int, limit: int) -> list[Event]:
        """A list longer than a page as the ``round_``-th answer about it sees it: events come in between, some go."""
        insertions, ghosts = self._assumptions.insertions, self._assumptions.ghosts
        if not (insertions or ghosts) or len(found) - insertions <= limit:
            return found
        ranked = sorted(found, key=lambda event: number("rank", event.id))
        hidden = set(ranked[round_:insertions])
        shown = [event for event in found if event not in hidden]
        if ghosts and round_ == 0:
            shown += [ghost_of(event) for event in ranked[-ghosts:]]
        return shown

    def tell(self, event: Event) -> Item:
        """An event as the interface spells it."""
        blank = self._assumptions.blank_dates
        return {
            "id": event.id,
            "date": spelled(event.date, blank=blank),
            "creationDate": spelled(event.created, blank=blank),
            "lastModified": spelled(event.created, blank=blank),
            "type": event.type,
            "agentId": event.agent,
            "cameraId": event.camera.id,
            "workspaceId": self._customer.workspace,
            "activityId": event.activity,
            "data": data_of(event, spelled(event.date, blank=True)),
        }

    def filters(
        self,
        _info: Any,
        filters: Mapping[str, Any] | None = None,
        order: Mapping[str, Any] | None = None,  # noqa: ARG002 - there is only one
        pagination: Mapping[str, Any] | None = None,
    ) -> Item:
        """``eventsFilters`` (page 2.2): one, made with the workspace."""
        item = {
            "id": self._happenings.premises.guid("filter", self._customer.name),
            "name": "Drivers at the gates",
            "creationDate": spelled(self._customer.groups[0].created),
            "lastModified": spelled(self._customer.groups[0].created),
            "meta": {"profile_groups": [self._customer.groups[0].id], "types": ["identification"]},
            "workspaceId": self._customer.workspace,
            "endpoints": [self._endpoint()],
        }
        return self._few(item, filters, pagination)

    def endpoints(
        self,
        _info: Any,
        filters: Mapping[str, Any] | None = None,
        order: Mapping[str, Any] | None = None,  # noqa: ARG002 - there is only one
        pagination: Mapping[str, Any] | None = None,
    ) -> Item:
        """``endpoints`` (page 2.2; the name is an assumption, OPL-03)."""
        return self._few(self._endpoint(), filters, pagination)

    def _few(self, item: Item, filters: Mapping[str, Any] | None, pagination: Mapping[str, Any] | None) -> Item:
        wanted = (filters or {}).get("id") or {}
        kind = (filters or {}).get("type")
        fits = wanted.get("exact") in (None, item["id"]) and kind in (None, item.get("type"))
        pages = pagination or {}
        items = [item] if fits else []
        return counted(items, page(items, pages.get("offset"), pages.get("limit"), self._assumptions), lambda one: one)

    def _endpoint(self) -> Item:
        created = spelled(self._customer.groups[0].created)
        return {
            "id": self._happenings.premises.guid("endpoint", self._customer.name),
            "name": "Dashboard",
            "creationDate": created,
            "lastModified": created,
            "type": "WEB_SOCKET",
            "meta": {},
            "workspaceId": self._customer.workspace,
        }


def ghost_of(event: Event) -> Event:
    """An event that is gone after the first answer: like ``event``, with an id of its own."""
    return event._replace(id=event.id[:-12] + f"{number('ghost', event.id) & 0xFFFF_FFFF_FFFF:012x}")


def _fits(event: Event, filters: Mapping[str, Any]) -> bool:
    def exact(name: str) -> Any:
        return (filters.get(name) or {}).get("exact")

    profile = exact("dataIdentificationDataProfileId")
    return (
        exact("id") in (None, event.id)
        and exact("type") in (None, event.type)
        and exact("activityId") in (None, event.activity)
        and (profile is None or any(candidate.profile.id == profile for candidate in event.candidates or ()))
    )
