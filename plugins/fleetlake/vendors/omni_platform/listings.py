"""What is asked of each list, and what is left out on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

KEPT_MARK = "personalDataKept"
"""Name in an answer that says: the account keeps personal data. Without it, rows are masked."""


@dataclass(frozen=True)
class Listing:
    """One kind of list.

    Attributes:
        query: its name in the schema.
        required: fields without which its rows are worth nothing.
        optional: others, by name, with the text that asks for them; left out where the schema refuses them.
        personal: others that are asked for only where personal data is kept.
        arguments: optional arguments beside paging, with their values as GraphQL.
    """

    query: str
    required: tuple[str, ...]
    optional: Mapping[str, str]
    personal: Mapping[str, str] = field(default_factory=dict)
    arguments: Mapping[str, str] = field(default_factory=dict)


def _plain(*names: str) -> dict[str, str]:
    return {name: name for name in names}


# Never asked for: an agent's `token`, a camera's `stream` (it may hold a login), images.
EVENTS = Listing(
    "events",
    ("id", "date", "type", "data"),
    _plain("creationDate", "lastModified", "agentId", "cameraId", "workspaceId", "activityId"),
)
LISTS: Mapping[str, Listing] = {
    "cameras": Listing("cameras", ("id",), _plain("title", "agentId", "archived", "creationDate", "lastModified")),
    "agents": Listing(
        "agents",
        ("id",),
        _plain("title", "camerasIds", "agentStatus", "agentLastActiveTime", "archived", "creationDate", "lastModified"),
        arguments={"withArchived": '"all"'},
    ),
    "profile_groups": Listing("profileGroups", ("id",), _plain("title", "creationDate", "lastModified")),
    "profiles": Listing(
        "profiles",
        ("id",),
        {
            "profileGroups": "profileGroups { id }",
            **_plain("activitiesCount", "lastActivityDate", "creationDate", "lastModified"),
        },
        personal=_plain("info"),
    ),
}
