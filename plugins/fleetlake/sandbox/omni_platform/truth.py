"""What is true about the workspace, in the columns of the contracts, without asking the interface."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

from fleetlake.sandbox.omni_platform.happenings import DAY, Event, Happenings, data_of
from fleetlake.sandbox.omni_platform.listing import from_ms, spelled
from fleetlake.sandbox.omni_platform.premises import Customer
from fleetlake.window import Window

DATASETS = ("camera", "agent", "profile", "profile_group", "event")

_RECENT_DAYS = 7
Row = dict[str, Any]


class Truth:
    """Rows of one customer."""

    def __init__(self, happenings: Happenings, customer: Customer) -> None:
        self._happenings = happenings
        self._customer = customer
        self._assumptions = happenings.premises.assumptions
        self._now = happenings.premises.context.clock.now_ms()
        self._keeps = self._assumptions.truth_personal_data == "keep"

    def rows(self, dataset: str, window: Window | None) -> Iterator[Row]:
        """Rows of ``dataset``; of events those detected in the window, ``None`` = everything still kept."""
        if dataset == "event":
            start, end = (window.start, window.end) if window else (None, None)
            for event in self._happenings.visible(self._customer, _ms(start), _ms(end)):
                yield self._event(event)
        else:
            yield from {
                "camera": self._cameras,
                "agent": self._agents,
                "profile": self._profiles,
                "profile_group": self._groups,
            }[dataset]()

    def _event(self, event: Event) -> Row:
        candidates = None
        if event.candidates is not None:
            candidates = [
                {
                    "profile_id": one.profile.id,
                    "confidence": one.confidence,
                    "group_ids": [group.id for group in one.groups],
                    "age": one.profile.age if self._keeps else None,
                    "gender": one.profile.gender if self._keeps else None,
                }
                for one in event.candidates
            ]
        data = data_of(event, spelled(event.date, blank=True))
        if not self._keeps:
            _drop(data, "$image", "$original_image")
            for item in data.get("identification_data", ()):
                _drop(item, "age", "gender", "main_sample_id")
        return {
            "event_id": event.id,
            "event_type": event.type.lower(),
            "event_time": from_ms(event.date),
            "created_time": from_ms(event.created),
            "modified_time": from_ms(event.created),
            "agent_id": event.agent,
            "camera_id": event.camera.id,
            "workspace_id": self._customer.workspace,
            "activity_id": event.activity if self._assumptions.activity_id_output else None,
            "image_id": event.image if self._keeps else None,
            "original_image_id": event.original_image if self._keeps else None,
            "candidates": candidates,
            "candidates_count": None if candidates is None else len(candidates),
            "data": data,
        }

    def _cameras(self) -> Iterator[Row]:
        for camera in self._customer.cameras:
            head, at, place = camera.title.rpartition("@")
            yield {
                "camera_id": camera.id,
                # Nobody needs the login to know which camera it is.
                "title": f"{head.partition('://')[0]}://***@{place}" if at else camera.title,
                "agent_id": self._customer.agents[camera.agent].id,
                "is_archived": False,
                "created_time": camera.created,
                "modified_time": camera.created,
            }

    def _agents(self) -> Iterator[Row]:
        for agent in self._customer.agents:
            yield {
                "agent_id": agent.id,
                "title": agent.title,
                "agent_status": "inactive" if agent.archived else "active",
                "last_active_time": None if agent.archived else from_ms(self._now).replace(second=0, microsecond=0),
                "is_archived": agent.archived,
                "camera_ids": [camera.id for camera in agent.cameras],
                "created_time": agent.created,
                "modified_time": agent.created,
            }

    def _groups(self) -> Iterator[Row]:
        for group in self._customer.groups:
            yield {
                "group_id": group.id,
                "title": group.title,
                "created_time": group.created,
                "modified_time": group.created,
            }

    def _profiles(self) -> Iterator[Row]:
        seen: dict[str, dict[str, int]] = {}
        for event in self._happenings.visible(self._customer, self._now - _RECENT_DAYS * DAY, None):
            if event.candidates:
                dates = seen.setdefault(event.candidates[0].profile.id, {})
                dates[event.activity] = min(event.date, dates.get(event.activity, event.date))
        for profile in self._customer.profiles:
            if profile.deleted:
                continue
            dates = seen.get(profile.id, {})
            person: Row = {
                "age": profile.age,
                "gender": profile.gender.lower(),
                "name": profile.name,
                "description": profile.description,
                "birthday": profile.birthday,
                "avatar_id": profile.sample,
                "main_sample_id": profile.sample,
            }
            yield {
                "profile_id": profile.id,
                **(person if self._keeps else dict.fromkeys(person)),
                "group_ids": [group.id for group in profile.groups],
                "activities_count": len(dates),
                "last_activity_time": from_ms(max(dates.values())) if dates else None,
                "created_time": profile.created,
                "modified_time": profile.created,
            }


def _drop(values: Row, *names: str) -> None:
    for name in names:
        values.pop(name, None)


def _ms(moment: dt.datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
