"""The open questions of the Omnicomm page and the answer this sandbox gives; ids are those of its section 6."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OmnicommAssumptions:
    """Everything here is an [ASSUMPTION] of the vendor page, or a property of the simulated fleet.

    Attributes:
        token_life_s: seconds an access token lives.
        refresh_life_s: OMN-03: seconds a refresh token lives; an older one stays good after a refresh.
        failed_logins_per_minute: by address; 0 = no limit.
        calls_per_minute: authorised calls by account; 0 = no limit.
        unauthorised_per_minute: by address; 0 = no limit.
        block_status: OMN-02: status of a blocked request; its body is empty.
        block_s: OMN-02: seconds a block lasts.
        batch_vehicles: OMN-04: most vehicles in a consolidated report or in geofence visits; more is ``code: 4``.
        batch_days: OMN-04: most days there.
        time_end_inclusive: a point exactly at ``timeEnd`` belongs to track, fuel levels, events and journal.
        visit_unit_s: OMN-05: seconds in one unit of ``minDurationTime``; 60 = minutes.
        visit_least_s: shortest visit that the truth tells, seconds: what its readers ask for.
        visit_least_s: int = 300
    fuel_level_factor: OMN-05: ``fuellevel`` tells decilitres times this; 0.1 = litres.
        volume_units: OMN-11: claim ``server.volume_units``.
        max_report_period: OMN-06: claim of that name.
        poisoned: terminal numbers, with commas between, that are in the tree although their reports are denied.
        recalculated_until: ISO date: mileage of earlier days has been reckoned again, 2 % more; empty = never.
        failure_code: body code with which a report answers while the fault ``task_failed`` is played.
        failure_code: int = 14
    truncate_json: ``click/log/additional`` cuts its inner JSON.
        unverified: OMN-08: also serve users, drivers and video profiles, whose shapes nobody has seen.
        geofence_overlap: rows of a page of the geofence list that the next one repeats.
        geofences: zones of an account besides those of its vehicles; every seventh has no geometry.
        other_vehicles: vehicles of the second customer; the first may not read them.
    """

    token_life_s: int = 3600
    refresh_life_s: int = 30 * 86_400
    failed_logins_per_minute: int = 10
    calls_per_minute: int = 180
    unauthorised_per_minute: int = 60
    block_status: int = 429
    block_s: float = 60.0
    batch_vehicles: int = 50
    batch_days: int = 31
    time_end_inclusive: bool = True
    visit_unit_s: int = 1
    visit_least_s: int = 300
    fuel_level_factor: float = 1.0
    volume_units: str = "L"
    max_report_period: int = 12
    poisoned: str = ""
    recalculated_until: str = ""
    failure_code: int = 14
    truncate_json: bool = False
    unverified: bool = False
    geofence_overlap: int = 1
    geofences: int = 14
    other_vehicles: int = 3
