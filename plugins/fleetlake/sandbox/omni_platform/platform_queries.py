"""Queries of the platform API."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from graphql import GraphQLError

from fleetlake.sandbox.omni_platform.happenings import DAY, Event, Happenings
from fleetlake.sandbox.omni_platform.listing import Item, bounds, counted, page, spelled
from fleetlake.sandbox.omni_platform.premises import Agent, Camera, Customer, Group, Profile

_ACTIVE_MS = 60_000
_RECENT_DAYS = 7
_SORTABLE = {
    "id": attrgetter("id"),
    "creation_date": attrgetter("created"),
    "last_modified": attrgetter("created"),
}


class PlatformQueries:
    """Root of the platform API for one customer."""

    def __init__(self, happenings: Happenings, customer: Customer) -> None:
        self._happenings = happenings
        self._assumptions = happenings.premises.assumptions
        self._customer = customer
        self._now = happenings.premises.context.clock.now_ms()

    def root(self) -> Item:
        """Resolvers by field."""
        customer = self._customer
        return {
            "me": self._me,
            "workspaceInfo": self._workspace,
            "agents": self._agents,
            "cameras": self._old(customer.cameras, self._camera),
            "profiles": self._old([profile for profile in customer.profiles if not profile.deleted], self._profile),
            "profileGroups": self._old(customer.groups, self._group),
            "activities": self._activities,
        }

    def _me(self, _info: Any) -> Item:
        customer = self._customer
        workspace = {"id": customer.workspace, "title": customer.name, "accesses": [{"id": customer.token}]}
        return {
            "username": customer.name,
            "email": f"{customer.name}@example.com",
            "firstName": "",
            "lastName": "",
            "workspaces": [workspace],
        }

    def _workspace(self, _info: Any) -> Item:
        customer, ttl = self._customer, self._assumptions.activity_ttl
        return {
            "id": customer.workspace,
            "title": customer.name,
            "config": {
                "is_active": True,
                "features": {"events": True},
                "activity_ttl": ttl,
                "sample_ttl": ttl,
                "template_version": "1.18.0",
            },
            "agentsCount": sum(not agent.archived for agent in customer.agents),
            "camerasCount": len(customer.cameras),
            "profilesCount": sum(not profile.deleted for profile in customer.profiles),
        }

    def _agents(self, _info: Any, withArchived: str | None = None, **arguments: Any) -> Item:  # noqa: N803
        agents = self._customer.agents
        if withArchived is None:
            agents = tuple(agent for agent in agents if not agent.archived)
        elif withArchived == "archived":
            agents = tuple(agent for agent in agents if agent.archived)
        elif withArchived != "all":
            raise GraphQLError(f"withArchived must be 'all' or 'archived', not {withArchived!r}")
        return self._old(agents, self._agent)(_info, **arguments)

    def _old(self, items: Sequence[Any], tell: Callable[[Any], Item]) -> Callable[..., Item]:
        """A list in the older argument style (page 2.4)."""

        def resolve(
            _info: Any,
            filter: Any = None,  # noqa: A002 - the vendor's name
            ids: Sequence[str] | None = None,
            limit: int | None = None,
            offset: int | None = None,
            order: Sequence[str] | None = None,
        ) -> Item:
            if filter:
                raise GraphQLError("filter: not supported by this server")
            found = [item for item in items if ids is None or item.id in ids]
            for field in reversed(order or ()):
                name = field.removeprefix("-")
                if name not in _SORTABLE:
                    raise GraphQLError(f"Cannot resolve keyword {name!r} into field")
                found.sort(key=_SORTABLE[name], reverse=field.startswith("-"))
            return counted(found, page(found, offset, limit, self._assumptions), tell)

        return resolve

    def _agent(self, agent: Agent) -> Item:
        return {
            "id": agent.id,
            "title": agent.title,
            "token": agent.token,
            "camerasIds": [camera.id for camera in agent.cameras],
            "agentStatus": "INACTIVE" if agent.archived else "ACTIVE",
            "agentLastActiveTime": None if agent.archived else spelled(self._now // _ACTIVE_MS * _ACTIVE_MS),
            "archived": agent.archived,
            "creationDate": spelled(agent.created),
            "lastModified": spelled(agent.created),
        }

    def _camera(self, camera: Camera) -> Item:
        return {
            "id": camera.id,
            "title": camera.title,
            "stream": camera.stream,
            "agentId": self._customer.agents[camera.agent].id,
            "archived": False,
            "creationDate": spelled(camera.created),
            "lastModified": spelled(camera.created),
        }

    def _group(self, group: Group) -> Item:
        members = [profile.id for profile in self._customer.profiles if group in profile.groups and not profile.deleted]
        return {
            "id": group.id,
            "title": group.title,
            "info": {"color": group.color},
            "profileIds": members,
            "creationDate": spelled(group.created),
            "lastModified": spelled(group.created),
        }

    def _profile(self, profile: Profile) -> Item:
        return {
            "id": profile.id,
            "info": {
                "age": profile.age,
                "gender": profile.gender,
                "main_sample_id": profile.sample,
                "avatar_id": profile.sample,
                "name": profile.name,
                "description": profile.description,
                "birthday": profile.birthday,
            },
            "avatar": profile.sample,
            "mainSample": {"id": profile.sample},
            "profileGroups": [self._group(group) for group in profile.groups],
            "activitiesCount": lambda _info: len(self.activities_of(profile)),
            "lastActivityDate": lambda _info: _latest(self.activities_of(profile)),
            "creationDate": spelled(profile.created),
            "lastModified": spelled(profile.created),
        }

    def activities_of(self, profile: Profile) -> dict[str, int]:
        """First sight of each recent activity of a person, by activity id."""
        first: dict[str, int] = {}
        for event in self._recent():
            if event.candidates and event.candidates[0].profile is profile:
                first[event.activity] = min(event.date, first.get(event.activity, event.date))
        return first

    def _recent(self) -> list[Event]:
        return list(self._happenings.visible(self._customer, self._now - _RECENT_DAYS * DAY, None))

    def _activities(
        self,
        _info: Any,
        filters: Mapping[str, Any] | None = None,
        order: Mapping[str, Any] | None = None,
        pagination: Mapping[str, Any] | None = None,
    ) -> Item:
        filters = filters or {}
        grouped: dict[str, list[Event]] = {}
        for event in sorted(self._recent(), key=lambda event: (event.date, event.id)):
            grouped.setdefault(event.activity, []).append(event)
        start, end = bounds(filters.get("creationDate"))
        found = []
        for identifier, events in grouped.items():
            named = next((event.candidates[0].profile.id for event in events if event.candidates), None)
            item: Item = {
                "id": identifier,
                "creationDate": events[0].date,
                "cameraId": events[0].camera.id,
                "profileId": named,
                "bestShotId": events[0].image,
                "status": "PROGRESS" if events[-1].date > self._now - 30_000 else "FINALIZED",
                "data": {},
            }
            in_time = (start is None or events[0].date >= start) and (end is None or events[0].date < end)
            if in_time and all(_matches(item[name], filters.get(name)) for name in ("id", "cameraId", "profileId")):
                found.append(item)
        found.sort(key=lambda item: item["creationDate"], reverse=(order or {}).get("creationDate") == "DESC")
        pages = pagination or {}
        shown = page(found, pages.get("offset"), pages.get("limit"), self._assumptions)
        return counted(found, shown, lambda item: {**item, "creationDate": spelled(item["creationDate"])})


def _latest(activities: Mapping[str, int]) -> str | None:
    return spelled(max(activities.values())) if activities else None


def _matches(value: str | None, lookup: Mapping[str, Any] | None) -> bool:
    for name, wanted in (lookup or {}).items():
        if name == "exact" and wanted is not None and value != wanted:
            return False
        if name == "inList" and wanted is not None and value not in wanted:
            return False
        if name == "isNull" and wanted is not None and (value is None) != wanted:
            return False
    return True
