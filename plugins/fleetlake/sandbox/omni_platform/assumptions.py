"""The open questions of the OMNI Platform page and the answer this sandbox gives; ids are those of its section 6."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class OmniAssumptions:
    """Everything here is an [ASSUMPTION] of the vendor page, or a property of the simulated workspace.

    Attributes:
        limit_default, limit_max: OPL-04: rows of a page when nothing is said, and at most; more is cut without a word.
        date_scalar: OPL-10: type of the values of a date filter: ``String`` or ``DateTime``.
        pagination_in_order: OPL-10: ``pagination`` is a field of ``order``, not an argument.
        activity_id_output: OPL-11: events tell their activity.
        introspection: the schema may be asked for.
        refusal: how a bad token is answered: ``graphql`` (errors in an HTTP 200), ``401`` or ``403``.
        denied: queries the token has no right for, with commas between; answered as an error in an HTTP 200.
        validation_status: HTTP status of a query that does not fit the schema.
        blank_dates: dates with a blank instead of ``T``, as the live channels spell them.
        newer_type: a kind of event that this page does not know appears.
        activity_ttl: retention of events in units of ``ttl_unit_s``.
        ttl_unit_s: seconds; the unit is not documented.
        late_share: share of agent-days with a stretch that is inserted late.
        late_hours: longest wait of such a stretch after its end.
        insertions: events of each list longer than a page that appear one by one between the answers about it.
        ghosts: events of each such list that only the first answer about it holds; they are not true.
        unstable_ties: events with the same date come in another order in every answer.
        truth_personal_data: what ``truth`` tells about people: ``mask`` or ``keep``.
    """

    limit_default: int = 100
    limit_max: int = 1000
    date_scalar: str = "DateTime"
    pagination_in_order: bool = False
    activity_id_output: bool = True
    introspection: bool = True
    refusal: str = "graphql"
    denied: str = ""
    validation_status: int = 200
    blank_dates: bool = False
    newer_type: bool = False
    activity_ttl: int = 400 * 86_400
    ttl_unit_s: int = 1
    late_share: float = 0.5
    late_hours: float = 18.0
    insertions: int = 0
    ghosts: int = 0
    unstable_ties: bool = False
    truth_personal_data: str = "mask"
