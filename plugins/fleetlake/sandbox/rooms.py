"""What a vendor's room offers, and the list of rooms.

To add a vendor: a package ``fleetlake.sandbox.<vendor>`` with an object ``ROOM``, and its name in ``ROOMS``.
"""

from __future__ import annotations

import difflib
import importlib
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.clock import Clock
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.settings import SandboxSettings
from fleetlake.sandbox.world import World
from fleetlake.window import Window

ROOMS: tuple[str, ...] = ("rcs", "powunity", "omnicomm", "suivideflotte", "omni_platform")


@dataclass(frozen=True)
class Context:
    """What every room works with."""

    settings: SandboxSettings
    world: World
    clock: Clock

    @classmethod
    def of(cls, settings: SandboxSettings) -> Context:
        """A context for ``settings``, with a clock of its own."""
        return cls(settings, World(settings.seed, settings.history_start, settings.late_by_day()), Clock(settings.as_of))


class Room(Protocol):
    """One simulated vendor.

    Attributes:
        name: the vendor's name, also the key of its port.
        base_path: path below which the interface lives, for the address in ``sandbox.json``; no trailing slash.
        datasets: names that ``truth`` knows, as the contracts name them.
        error_body: content type and bytes for the fault "status 200 with an error body".

    A room may have ``pace``: fields of a connection to it that let a client ask quicker than it would ask the real vendor,
    where the vendor states no limit and clients are careful by themselves.
    """

    name: str
    base_path: str
    datasets: tuple[str, ...]
    error_body: tuple[str, bytes]

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:
        """Credentials by customer, for ``sandbox.json``: what a connection needs."""
        ...

    def tls(self, pki: Pki) -> ssl.SSLContext | None:
        """TLS of the listener; ``None`` = plain HTTP."""
        ...

    def app(self, context: Context) -> ASGIApp:
        """The interface. Faults, request log and in-flight count are laid around it (``layer.py``).

        Faults that only the room can play (``faults.ROOM_KINDS``) are in ``layer.faults_of(scope)``.
        """
        ...

    def customer(self, context: Context, scope: Scope) -> str | None:
        """Who asks, for log, statistics and faults; ``None`` = nobody known. Certificate: ``layer.peer_of(scope)``."""
        ...

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """What is true: rows with the business columns of the contract, from the world, not through ``app``.

        Args:
            context: settings, world, clock: only what was received until now is true.
            dataset: one of ``datasets``.
            window: on the contract's time column; ``None`` = everything until now.
            customer: one of ``customers``; ``None`` = the first.
        """
        ...


def room(name: str) -> Room:
    """The room called ``name``.

    Raises:
        ConfigError: there is none; names a near match.
    """
    if name not in ROOMS:
        near = difflib.get_close_matches(name, ROOMS, 1)
        raise ConfigError(
            f"no vendor {name!r} in the sandbox",
            remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(ROOMS)}",
        )
    found: Room = importlib.import_module(f"fleetlake.sandbox.{name}").ROOM
    return found


def rooms(names: tuple[str, ...] | None = None) -> dict[str, Room]:
    """Rooms by name, in order; ``None`` = all."""
    return {name: room(name) for name in (ROOMS if names is None else names)}
