"""PowUnity's room: a Traccar 5.12 server with bikes on it."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.powunity import truth
from fleetlake.sandbox.powunity.answers import JSON, ApiError
from fleetlake.sandbox.powunity.app import Api
from fleetlake.sandbox.powunity.customers import CUSTOMERS
from fleetlake.sandbox.powunity.sessions import Logins
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import World
from fleetlake.window import Window


class PowUnityRoom:
    """See ``fleetlake.sandbox.rooms.Room``."""

    name = "powunity"
    base_path = "/api"
    pace: ClassVar = {"rate_per_s": 20}  # no limit is known, so clients go gently (POW-05)
    datasets = truth.DATASETS
    error_body = (JSON, b"Connection is not available, request timed out after 30000ms - SQLTransientConnectionException")

    def __init__(self) -> None:
        # Open sessions of each sandbox in this process; its world stands for it.
        self._sessions: WeakKeyDictionary[World, dict[str, int]] = WeakKeyDictionary()

    def _logins(self, context: Context) -> Logins:
        return Logins(context, self._sessions.setdefault(context.world, {}))

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002
        """E-mail, password and token of each account."""
        logins = self._logins(context)
        return {
            customer.name: {"email": customer.email, "password": customer.password, "token": logins.token(customer)}
            for customer in logins.customers
        }

    def tls(self, pki: Pki) -> ssl.SSLContext | None:  # noqa: ARG002
        """Plain HTTP: the vendor's TLS is an ordinary one."""
        return None

    def app(self, context: Context) -> ASGIApp:
        """The interface."""
        return Api(context, self._logins(context)).app()

    def customer(self, context: Context, scope: Scope) -> str | None:
        """Who asks, by session, token or Basic; a login by form is nobody's until it has succeeded."""
        logins = self._logins(context)
        token = QueryParams(scope["query_string"]).get("token")
        try:
            if token is not None and scope["path"] == "/api/session":
                return logins.by_token(token).name
            found = logins.of_request(Headers(scope=scope))
        except ApiError:
            return None
        return found.name if found else None

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """Rows in the contract's business columns.

        Raises:
            ConfigError: unknown dataset or customer.
        """
        name = customer or CUSTOMERS[0]
        if name not in CUSTOMERS:
            raise ConfigError(f"no PowUnity customer {name!r}", remedy=f"one of: {', '.join(CUSTOMERS)}")
        if dataset not in self.datasets:
            raise ConfigError(f"no PowUnity dataset {dataset!r}", remedy=f"one of: {', '.join(self.datasets)}")
        owner = self._logins(context).customers[CUSTOMERS.index(name)]
        return truth.rows(context, owner, dataset, window)


ROOM = PowUnityRoom()
