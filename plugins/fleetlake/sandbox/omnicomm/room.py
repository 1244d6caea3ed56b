"""The Omnicomm room."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.omnicomm.app import Interface
from fleetlake.sandbox.omnicomm.assumptions import OmnicommAssumptions
from fleetlake.sandbox.omnicomm.logins import ACCESS, REFRESH, Logins, State
from fleetlake.sandbox.omnicomm.model import Model
from fleetlake.sandbox.omnicomm.park import CUSTOMERS
from fleetlake.sandbox.omnicomm.truth import DATASETS, Truth
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import World
from fleetlake.window import Window


class OmnicommRoom:
    """Omnicomm Online; see ``fleetlake.sandbox.rooms.Room``."""

    name = "omnicomm"
    base_path = ""
    datasets = DATASETS
    error_body = ("application/json", b'{"code":1,"message":"access denied / no accessible vehicle"}')

    def __init__(self) -> None:
        # What each sandbox in this process remembers of its tokens; its world stands for it.
        self._states: WeakKeyDictionary[World, State] = WeakKeyDictionary()

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002
        """Login and password of each account."""
        return {customer: self._logins_of(context).credentials(customer) for customer in CUSTOMERS}

    def tls(self, pki: Pki) -> ssl.SSLContext | None:  # noqa: ARG002
        """Plain HTTP: the vendor answers it, and its TLS is an ordinary one."""
        return None

    def app(self, context: Context) -> ASGIApp:
        """The interface."""
        return Interface(Model(context), self._logins_of(context)).app()

    def customer(self, context: Context, scope: Scope) -> str | None:
        """Who asks, by access token; at a refresh by that token."""
        kind = REFRESH if scope["path"] == "/auth/refresh" else ACCESS
        return self._logins_of(context).customer_of(Headers(scope=scope).get("authorization", ""), kind)

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """Rows in the contract's business columns; of statistics those of whole UTC days.

        Raises:
            ConfigError: unknown dataset or customer.
        """
        name = customer or CUSTOMERS[0]
        if name not in CUSTOMERS:
            raise ConfigError(f"no Omnicomm customer {name!r}", remedy=f"one of: {', '.join(CUSTOMERS)}")
        if dataset not in self.datasets:
            raise ConfigError(f"no Omnicomm dataset {dataset!r}", remedy=f"one of: {', '.join(self.datasets)}")
        return Truth(Model(context), name, window).rows(dataset)

    def _logins_of(self, context: Context) -> Logins:
        assumptions = context.settings.room(self.name, OmnicommAssumptions)
        return Logins(context, assumptions, self._states.setdefault(context.world, State()))


ROOM = OmnicommRoom()
