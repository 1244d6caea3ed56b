"""The open questions of the RCS page and the answer this sandbox gives; ids are those of its section 6."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class RcsAssumptions:
    """Everything here is an [ASSUMPTION] of the vendor page, or a property of the simulated fleet.

    Attributes:
        cursor_inclusive: RCS-01: the minimum revision itself is part of the answer.
        cursor_parameter: RCS-01: its query name.
        take_default, take_max: RCS-01.
        envelope: RCS-01: ``array`` or ``items``.
        time_end_inclusive: ``to`` belongs to the window.
        realtime_ttl, realtime_max_queues: RCS-02.
        task_seconds: RCS-03: time an overview task takes.
        task_lifetime_s: RCS-03: then its token is unknown.
        maturity_policy: RCS-10: ``table`` (section 7.3) or ``test_failed`` (bit 0 alone is ``ACTIVE``).
        status_as_hex: RCS-04: ``Trouble.status`` as text ``0x2F`` instead of a number.
        retired_since_2021_07_01: the marked operations answer ``retired_status``.
        retired_status: RCS-06: 404, 410 or 403.
        base_path: RCS-06: prefix of every path; the ``Location`` of a task never has it.
        window_days: calendar days of a report window.
        window_error: RCS-07: error code for a longer window.
        requests_per_second: 0 = no limit.
        rate_limit_by: RCS-08: ``certificate``, ``ip`` or ``subscription``.
        version_required: RCS-09: a missing ``X-API-Version`` is an error.
        versions: entries of ``GET /``, with commas between.
        newer_fields: answers have fields of a newer minor version that nobody documented.
        mask_forbidden: a 404 stands for every 403.
        max_body_bytes: a larger request is 413.
        other_vehicles: vehicles of a second customer; for the first they do not exist.
        rightless_vehicles: vehicles bound to the first customer without any right (403).
        rightless_listed: ``GET /vehicles`` names them all the same.
        truth_personal_data: ``mask`` or ``keep``: how truth tells names, phone numbers and addresses of users. The
            interface tells them as they are; tables hide them unless an account wants otherwise.
    """

    cursor_inclusive: bool = True
    cursor_parameter: str = "min_revision"
    take_default: int = 100
    take_max: int = 1000
    envelope: str = "array"
    time_end_inclusive: bool = True
    realtime_ttl: str = "00:05:00"
    realtime_max_queues: int = 5
    task_seconds: float = 3.0
    task_lifetime_s: float = 3600.0
    maturity_policy: str = "table"
    status_as_hex: bool = False
    retired_since_2021_07_01: bool = False
    retired_status: int = 404
    base_path: str = ""
    window_days: int = 7
    window_error: str = "OUT_OF_RANGE"
    requests_per_second: int = 5
    rate_limit_by: str = "certificate"
    version_required: bool = True
    versions: str = "1.3"
    newer_fields: bool = True
    mask_forbidden: bool = False
    max_body_bytes: int = 65_536
    other_vehicles: int = 2
    rightless_vehicles: int = 1
    rightless_listed: bool = False
    truth_personal_data: str = "mask"
