"""What the cameras see: events of a camera and day, and when each of them reaches the platform. Nothing is stored.

Times are milliseconds since 1970. An agent that was cut off inserts its events together and late, with their old dates.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.omni_platform.premises import MAX_CAMERAS, Camera, Customer, Group, Premises, Profile
from fleetlake.sandbox.world import DAY_S, day_number

DAY = DAY_S * 1000
_SLOT_BITS, _DAY_BITS = 12, 16
_KINDS = {
    "IDENTIFICATION": 55,
    "NON_IDENTIFICATION": 25,
    "HAR": 6,
    "ROI": 6,
    "CROSSING": 6,
    "FACE_HIDE_CONTROL": 2,
}
NEWER = "FALL_DETECTION"
TYPES = (*_KINDS, NEWER)


class Candidate(NamedTuple):
    """A person somebody may be."""

    profile: Profile
    confidence: float

    @property
    def groups(self) -> tuple[Group, ...]:
        """Watchlists of the person."""
        return self.profile.groups


class Event(NamedTuple):
    """One event. ``candidates`` is ``None`` for kinds that identify nobody."""

    id: str
    type: str
    date: int
    created: int
    camera: Camera
    agent: str
    activity: str
    candidates: tuple[Candidate, ...] | None

    # Ids of what belongs to it are made of its own: nobody computes what nobody asks for.

    @property
    def image(self) -> str:
        """Id of the crop."""
        return self.id[7::-1] + self.id[8:]

    @property
    def original_image(self) -> str:
        """Id of the whole frame."""
        return self.id[4:8] + self.id[:4] + self.id[8:]

    @property
    def track(self) -> str:
        """Id of the thing that was followed."""
        return self.activity[7::-1] + self.activity[8:]


class Happenings:
    """Events of all customers."""

    def __init__(self, premises: Premises) -> None:
        self.premises = premises
        self._day = lru_cache(maxsize=20_000)(self._make)

    @property
    def retention_ms(self) -> int:
        """How long an event is kept."""
        assumptions = self.premises.assumptions
        return assumptions.activity_ttl * assumptions.ttl_unit_s * 1000

    def visible(self, customer: Customer, start: int | None, end: int | None) -> Iterator[Event]:
        """Events with a date in ``[start, end)`` that have arrived and are still kept; in no order."""
        context = self.premises.context
        now = context.clock.now_ms()
        oldest = max(now - self.retention_ms, day_number(context.settings.history_start) * DAY)
        low = oldest if start is None else max(start, oldest)
        high = now + 1 if end is None else min(end, now + 1)
        for day in range(low // DAY, (high - 1) // DAY + 1):
            for camera in customer.cameras:
                for event in self._day(customer.name, camera, day):
                    if low <= event.date < high and event.created <= now:
                        yield event

    def find(self, customer: Customer, identifier: str) -> list[Event]:
        """Visible events of the camera and day that an event's or activity's id tells of."""
        try:
            node = UUID(identifier).node ^ self._mask
        except ValueError:
            return []
        day = node >> 20 & (1 << _DAY_BITS) - 1
        slot = node >> 36
        if slot // MAX_CAMERAS != customer.index or slot % MAX_CAMERAS >= len(customer.cameras):
            return []
        return [event for event in self.visible(customer, day * DAY, (day + 1) * DAY) if event.camera.slot == slot]

    @cached_property
    def _mask(self) -> int:
        return number(self.premises.seed, "omni_platform", "node") & 0xFFFF_FFFF_FFFF

    def _id(self, kind: str, camera: Camera, day: int, index: int) -> str:
        node = (camera.slot << 36 | day << 20 | index) ^ self._mask
        high = number(self.premises.seed, "omni_platform", kind, camera.slot, day, index)
        return str(UUID(int=high << 64 | 0xA << 60 | node, version=4))

    def _make(self, customer_name: str, camera: Camera, day: int) -> tuple[Event, ...]:
        customer = self.premises.customers[customer_name]
        roll = dice(self.premises.seed, "omni_platform", customer_name, "day", camera.slot, day)
        late = self._late(customer_name, camera.agent, day)
        events: list[Event] = []
        for visit in range(roll.randrange(30, 90)):
            # Most people come in the morning; a few at night.
            hour = roll.triangular(5, 22, 7.5) if roll.random() < 0.94 else roll.uniform(0, 23.9)
            date = day * DAY + int(hour * 3_600_000)
            person = roll.choice(customer.profiles)
            activity = self._id("activity", camera, day, visit)
            for number_ in range(roll.choice((1, 1, 1, 2, 3))):
                # Two events of one moment do occur: their order is nobody's promise.
                date += 0 if number_ == 1 and roll.random() < 0.3 else roll.randrange(200, 20_000)
                index = len(events)
                event_id = self._id("event", camera, day, index)
                kind = roll.choices(list(_KINDS), list(_KINDS.values()))[0]
                if self.premises.assumptions.newer_type and roll.random() < 0.03:
                    kind = NEWER
                wait = roll.randrange(150, 3000) if roll.random() < 0.9 else roll.randrange(3000, 90_000)
                created = date + wait
                if late is not None and late[0] <= date < late[1]:
                    created = late[2] + 40 * index + wait % 40
                events.append(
                    Event(
                        id=event_id,
                        type=kind,
                        date=date,
                        created=created,
                        camera=camera,
                        agent=customer.agents[camera.agent].id,
                        activity=activity,
                        candidates=_candidates(roll, person, customer) if kind == "IDENTIFICATION" else None,
                    )
                )
        return tuple(events)

    def _late(self, customer: str, agent: int, day: int) -> tuple[int, int, int] | None:
        """A stretch ``[start, end)`` of an agent's day whose events all arrive from the third moment on."""
        assumptions = self.premises.assumptions
        roll = dice(self.premises.seed, "omni_platform", customer, "late", agent, day)
        if roll.random() >= assumptions.late_share:
            return None
        start = day * DAY + roll.randrange(6 * 3_600_000, 19 * 3_600_000)
        end = start + roll.randrange(1_800_000, 4 * 3_600_000)
        return start, end, end + int(roll.uniform(0.5, assumptions.late_hours) * 3_600_000)


def _candidates(roll: random.Random, person: Profile, customer: Customer) -> tuple[Candidate, ...]:
    if roll.random() < 0.03:
        return ()
    found = [Candidate(person, round(roll.uniform(0.82, 0.99), 4))]
    if roll.random() < 0.15:
        double = roll.choice(customer.profiles)
        if double is not person:
            found.append(Candidate(double, round(roll.uniform(0.6, 0.8), 4)))
    return tuple(found)


def data_of(event: Event, date_text: str) -> dict[str, Any]:
    """The ``data`` of an event as an agent sends it (OPL-01); keys with ``$`` refer to binary objects.

    Args:
        event: the event.
        date_text: its date in the agent's spelling.
    """
    data: dict[str, Any] = {
        "$image": {"id": event.image},
        "$original_image": {"id": event.original_image},
        "type": event.type.lower(),
        "date": date_text,
        "id": event.id,
        "object": {"class": "human" if event.candidates is None else "face", "id": event.track},
        "parents": [{"id": event.activity, "type": "activity"}],
        "source": event.camera.id,
        "trigger_source": {"id": event.track},
    }
    if event.candidates is not None:
        data["identification_data"] = [
            {
                "profile_id": candidate.profile.id,
                "age": candidate.profile.age,
                "gender": candidate.profile.gender,
                "main_sample_id": candidate.profile.sample,
                "groups": [{"id": group.id, "color": group.color} for group in candidate.groups],
                "confidence": candidate.confidence,
            }
            for candidate in event.candidates
        ]
    return data
