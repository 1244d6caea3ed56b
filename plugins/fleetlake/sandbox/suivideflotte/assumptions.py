"""The open questions of the SuiviDeFlotte page and the answer this sandbox gives; ids are those of its section 6."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class SuiviDeFlotteAssumptions:
    """Everything here is an [ASSUMPTION] of the vendor page, or a property of the simulated fleet.

    Attributes:
        token_life_s: life of an access token, seconds; by the page 600 min.
        refresh_life_s: life of a refresh token, seconds; by the page 10 days.
        token_issued: when the persistent tokens were generated, ISO 8601; they end five years later.
            Empty = on the first day of the history.
        scopes: SDF-02: scopes of the persistent tokens, with blanks between.
        rotation: SDF-09: a refresh token works once.
        refresh_ends_access: a refresh also ends the access token it belongs to (framework).
        version_checked: SDF-10: an unknown ``X-Version`` is a 400.
        requests_per_minute: 0 = no limit, and none of its headers.
        limit_window_s: length of the limiter's window, from the first call in it.
        limit_by: SDF-08: ``user`` or ``key``.
        limit_json: SDF-08: the 429 has a JSON body instead of plain text.
        perpage_default: page size without ``perpage``.
        perpage_max: SDF-03: above it 422.
        envelope: SDF-04: ``paginator``, ``paginator55`` (two more links) or ``array``.
        page_past_end: SDF-04: ``empty`` or ``422``.
        timezone: SDF-05: zone of the account.
        date_format: SDF-05: ``local`` (``YYYY-MM-DD HH:MM:SS`` without zone) or ``iso`` (with offset).
        to_inclusive: a trip or alert at the very second ``to`` belongs to the answer.
        distance_unit: SDF-06: ``km`` or ``m``, for the distance of a trip.
        private_share: SDF-07: share of private trips; they keep their times and lose coordinates and addresses.
        late_share: share of rides that are told hours after their end, not within two minutes.
        settling_h: SDF-07: a trip's end and distance are provisional until so many hours after it was told; 0 = final.
        history_days: SDF-07: older trips and alerts are gone; 0 = kept for ever.
        deleted_trips: ids, with blanks between: trips that somebody has deleted; nothing shows that they ever were (SDF-07).
        more_fields: vehicles and trips have a field beyond those of section 2.3: nobody knows the real list (SDF-01).
        other_vehicles: vehicles of the second customer.
        pois: points of interest of the first customer; the second has three.
    """

    token_life_s: float = 36_000.0
    refresh_life_s: float = 864_000.0
    token_issued: str = ""
    scopes: str = "vehicles:read trips:read poi:read"
    rotation: bool = True
    refresh_ends_access: bool = True
    version_checked: bool = True
    requests_per_minute: int = 60
    limit_window_s: float = 60.0
    limit_by: str = "user"
    limit_json: bool = False
    perpage_default: int = 15
    perpage_max: int = 100
    envelope: str = "paginator"
    page_past_end: str = "empty"
    timezone: str = "Europe/Paris"
    date_format: str = "local"
    to_inclusive: bool = True
    distance_unit: str = "km"
    private_share: float = 0.08
    late_share: float = 0.06
    settling_h: float = 0.0
    history_days: int = 365
    deleted_trips: str = ""
    more_fields: bool = True
    other_vehicles: int = 2
    pois: int = 18
