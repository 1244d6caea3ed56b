"""Who and what there is: customers with their workspace, agents, cameras, watchlists and people."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from uuid import UUID

from fleetlake.errors import ConfigError
from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.omni_platform.assumptions import OmniAssumptions
from fleetlake.sandbox.rooms import Context

CUSTOMERS = ("depot", "other")
MAX_CAMERAS = 2048

_CAMERAS_PER_AGENT = 3
_PLACES = ("Gate north", "Gate south", "Workshop", "Fuel station", "Yard", "Office", "Canteen", "Car park")
_GROUPS = (("Drivers", "green.400"), ("Staff", "blue.400"), ("Do not admit", "orange.400"))
_NAMES = {"FEMALE": ("Ada", "Clara", "Elif", "Greta", "Ines", "Karla"), "MALE": ("Bruno", "David", "Felix", "Hugo", "Jonas")}
_FAMILY = ("Adler", "Berger", "Conti", "Dorn", "Ebert", "Falk", "Graf", "Huber", "Iversen", "Jung", "Keller", "Lang")


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera; ``slot`` is unique in the sandbox and part of its events' ids."""

    slot: int
    id: str
    title: str
    stream: str
    agent: int
    created: dt.datetime


@dataclass(frozen=True, eq=False)
class Agent:
    """One edge computer; ``token`` is its secret."""

    index: int
    id: str
    title: str
    token: str
    cameras: tuple[Camera, ...]
    archived: bool
    created: dt.datetime


@dataclass(frozen=True, eq=False)
class Group:
    """One watchlist."""

    id: str
    title: str
    color: str
    created: dt.datetime


@dataclass(frozen=True, eq=False)
class Profile:
    """One person. A deleted one is not listed, but events that name the person stay."""

    id: str
    name: str
    gender: str
    age: int
    birthday: str
    description: str
    sample: str
    groups: tuple[Group, ...]
    deleted: bool
    created: dt.datetime


@dataclass(frozen=True, eq=False)
class Customer:
    """One workspace; ``token`` is an access id."""

    index: int
    name: str
    workspace: str
    token: str
    agents: tuple[Agent, ...]
    cameras: tuple[Camera, ...]
    groups: tuple[Group, ...]
    profiles: tuple[Profile, ...]


class Premises:
    """All customers of the room."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.assumptions = context.settings.room("omni_platform", OmniAssumptions)
        self.seed = context.settings.seed
        if context.settings.cameras > MAX_CAMERAS:
            raise ConfigError(f"{context.settings.cameras} cameras", where="cameras", remedy=f"at most {MAX_CAMERAS}")

    @cached_property
    def customers(self) -> Mapping[str, Customer]:
        """By name, the main one first."""
        sizes = (self.context.settings.cameras, 2)
        return {name: self._customer(index, name, sizes[index]) for index, name in enumerate(CUSTOMERS)}

    def by_token(self, token: str | None) -> Customer | None:
        """The customer whose access id this is."""
        return next((customer for customer in self.customers.values() if customer.token == token), None)

    def guid(self, *key: object) -> str:
        """A UUID that depends on seed and key only."""
        low, high = (number(self.seed, "omni_platform", part, *key) for part in ("low", "high"))
        return str(UUID(int=high << 64 | low, version=4))

    def _customer(self, index: int, name: str, cameras: int) -> Customer:
        groups = tuple(
            Group(self.guid("group", name, number), title, color, self._created("group", name, number))
            for number, (title, color) in enumerate(_GROUPS)
        )
        all_cameras = tuple(self._camera(index, name, number) for number in range(cameras))
        agents = -(-cameras // _CAMERAS_PER_AGENT)
        return Customer(
            index=index,
            name=name,
            workspace=self.guid("workspace", name),
            token=self.guid("access", name),
            # The last one was put away long ago.
            agents=tuple(self._agent(name, number, all_cameras, number == agents) for number in range(agents + 1)),
            cameras=all_cameras,
            groups=groups,
            profiles=tuple(self._profile(name, number, groups) for number in range(8 if index else 30)),
        )

    def _camera(self, customer: int, name: str, index: int) -> Camera:
        address = f"192.0.2.{10 + index % 200}/stream{index // 200 or ''}"
        login = f"viewer:{self.guid('camera password', name, index)[:13]}@"
        # As in the vendor's samples, titles are often addresses, some with the login in them.
        title = (f"rtsp://{address}", f"rtsp://{login}{address}", f"{_PLACES[index % 8]} {index}")[index % 3]
        return Camera(
            slot=customer * MAX_CAMERAS + index,
            id=self.guid("camera", name, index),
            title=title,
            stream=f"rtsp://{login}{address}",
            agent=index // _CAMERAS_PER_AGENT,
            created=self._created("camera", name, index),
        )

    def _agent(self, name: str, index: int, cameras: tuple[Camera, ...], archived: bool) -> Agent:
        return Agent(
            index=index,
            id=self.guid("agent", name, index),
            title=f"Agent {index + 1}",
            token=self.guid("agent token", name, index),
            cameras=tuple(camera for camera in cameras if camera.agent == index and not archived),
            archived=archived,
            created=self._created("agent", name, index),
        )

    def _profile(self, name: str, index: int, groups: tuple[Group, ...]) -> Profile:
        roll = dice(self.seed, "omni_platform", "profile", name, index)
        gender = roll.choice(sorted(_NAMES))
        birthday = dt.date(1956, 1, 1) + dt.timedelta(days=roll.randrange(50 * 365))
        return Profile(
            id=self.guid("profile", name, index),
            name=f"{roll.choice(_NAMES[gender])} {roll.choice(_FAMILY)}",
            gender=gender,
            age=2026 - birthday.year,
            birthday=birthday.isoformat(),
            description=roll.choice(("", "Early shift", "Late shift", "Contractor")),
            sample=self.guid("sample", name, index),
            groups=tuple(roll.sample(groups, roll.randrange(0, 3))),
            deleted=index % 10 == 9,
            created=self._created("profile", name, index),
        )

    def _created(self, *key: object) -> dt.datetime:
        """Before the first day with data."""
        start = dt.datetime.combine(self.context.settings.history_start, dt.time(), dt.UTC)
        return start - dt.timedelta(seconds=number(self.seed, "omni_platform", "created", *key) % (300 * 86_400) + 3600)
