"""The RCS room."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rcs.interface import Interface, customer_of
from fleetlake.sandbox.rcs.park import CUSTOMERS, Park
from fleetlake.sandbox.rcs.truth import truth
from fleetlake.sandbox.rooms import Context
from fleetlake.window import Window


class RcsRoom:
    """Remoto Cloud Services; see ``fleetlake.sandbox.rooms.Room``."""

    name = "rcs"
    base_path = ""
    datasets = ("vehicle", "telemetry", "health_report", "trouble", "app_user", "client_notification")
    error_body = ("application/json", b'{"error":{"type":"InternalError","message":"unexpected"}}')

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002
        """Certificate, key and authority of each customer, as paths."""
        pki.ensure(*CUSTOMERS.values())
        return {
            customer: {"cert": str(pki.pair(name).cert), "key": str(pki.pair(name).key), "ca": str(pki.ca)}
            for customer, name in CUSTOMERS.items()
        }

    def tls(self, pki: Pki) -> ssl.SSLContext | None:
        """TLS 1.3 only. A certificate may be missing here (then 401), but one that is shown must be ours."""
        pki.ensure(*CUSTOMERS.values())
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        server = pki.pair("server")
        tls.load_cert_chain(server.cert, server.key)
        tls.load_verify_locations(pki.ca)
        tls.verify_mode = ssl.CERT_OPTIONAL
        return tls

    def app(self, context: Context) -> ASGIApp:
        """The interface."""
        return Interface(Park(context))

    def customer(self, context: Context, scope: Scope) -> str | None:  # noqa: ARG002
        """The customer whose certificate the connection shows."""
        return customer_of(scope)

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """What is true; see ``fleetlake.sandbox.rooms.Room``.

        Raises:
            ConfigError: no such dataset or customer.
        """
        if dataset not in self.datasets:
            raise ConfigError(f"RCS has no dataset {dataset!r}", remedy=f"one of: {', '.join(self.datasets)}")
        if customer is not None and customer not in CUSTOMERS:
            raise ConfigError(f"RCS has no customer {customer!r}", remedy=f"one of: {', '.join(CUSTOMERS)}")
        return truth(Park(context), dataset, window, customer or next(iter(CUSTOMERS)))


ROOM = RcsRoom()
