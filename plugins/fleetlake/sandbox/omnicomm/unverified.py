"""Lists whose shapes nobody has seen (OMN-08): invented, and served only when an assumption says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omnicomm.park import Truck

Rows = list[dict[str, Any]]


def _users(trucks: Sequence[Truck]) -> Rows:
    owner = trucks[0].customer
    return [{"login": f"{owner}.{name}", "blocked": name == "guest"} for name in ("reader", "admin", "guest")]


def _drivers(trucks: Sequence[Truck]) -> Rows:
    return [{"id": 9000 + truck.index, "name": f"Driver {truck.index + 1}"} for truck in trucks]


def _video_profiles(trucks: Sequence[Truck]) -> Rows:
    return [{"terminalId": truck.terminal_id, "channels": 2} for truck in trucks[::2]]


def _video_tasks(trucks: Sequence[Truck]) -> Rows:
    return [
        {"id": number("video", truck.terminal_id) % 10_000, "terminalId": truck.terminal_id, "state": "DONE"}
        for truck in trucks[::2]
    ]


LISTS: Mapping[str, Callable[[Sequence[Truck]], Rows]] = {
    "account_user": _users,
    "driver": _drivers,
    "video_profile": _video_profiles,
    "video_task": _video_tasks,
}
"""Rows by dataset."""
