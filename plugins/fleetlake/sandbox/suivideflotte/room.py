"""The SuiviDeFlotte room."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.suivideflotte.interface import Interface
from fleetlake.sandbox.suivideflotte.keys import Keys, owner_of
from fleetlake.sandbox.suivideflotte.park import CUSTOMERS, Park
from fleetlake.sandbox.suivideflotte.truth import DATASETS, truth
from fleetlake.window import Window


class SuiviDeFlotteRoom:
    """SuiviDeFlotte.net; see ``fleetlake.sandbox.rooms.Room``."""

    name = "suivideflotte"
    base_path = ""
    datasets = tuple(DATASETS)
    error_body = ("application/json", b'{"code":500,"message":"Internal error"}')

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002
        """Persistent token (``token``) of each customer, and his Application key with a user."""
        keys = Keys(Park(context))
        return {customer: {"token": keys.persistent(customer), **keys.application(customer)} for customer in CUSTOMERS}

    def tls(self, pki: Pki) -> ssl.SSLContext | None:  # noqa: ARG002
        """Plain HTTP: the vendor's TLS is an ordinary one."""
        return None

    def app(self, context: Context) -> ASGIApp:
        """The interface."""
        return Interface(Park(context))

    def customer(self, context: Context, scope: Scope) -> str | None:
        """Whose key is shown, in force or not; a login is nobody's."""
        return owner_of(context, Headers(scope=scope).get("authorization", ""))

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """What is true; see ``fleetlake.sandbox.rooms.Room``.

        Raises:
            ConfigError: no such dataset or customer.
        """
        if dataset not in self.datasets:
            raise ConfigError(f"SuiviDeFlotte has no dataset {dataset!r}", remedy=f"one of: {', '.join(self.datasets)}")
        if customer is not None and customer not in CUSTOMERS:
            raise ConfigError(f"SuiviDeFlotte has no customer {customer!r}", remedy=f"one of: {', '.join(CUSTOMERS)}")
        return truth(Park(context), dataset, window, customer or CUSTOMERS[0])


ROOM = SuiviDeFlotteRoom()
