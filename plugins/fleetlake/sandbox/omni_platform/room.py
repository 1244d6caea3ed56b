"""The OMNI Platform room."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from starlette.types import ASGIApp, Scope

from fleetlake.errors import ConfigError
from fleetlake.sandbox.omni_platform.happenings import Happenings
from fleetlake.sandbox.omni_platform.interface import Interface, customer_of
from fleetlake.sandbox.omni_platform.premises import CUSTOMERS, Premises
from fleetlake.sandbox.omni_platform.truth import DATASETS, Truth
from fleetlake.sandbox.pki import Pki
from fleetlake.sandbox.rooms import Context
from fleetlake.window import Window


class OmniPlatformRoom:
    """OMNI Platform; see ``fleetlake.sandbox.rooms.Room``."""

    name = "omni_platform"
    base_path = ""
    datasets = DATASETS
    error_body = ("application/json", b'{"errors":[{"message":"Internal server error"}],"data":null}')
    pace: ClassVar = {"rate_per_s": 50}  # no limit is documented, so clients go gently

    def __init__(self) -> None:
        # Who asks is looked up with every request: the premises of the sandboxes served last are kept.
        self._known: deque[Happenings] = deque(maxlen=4)

    def _happenings(self, context: Context) -> Happenings:
        for known in self._known:
            if known.premises.context is context:
                return known
        self._known.append(Happenings(Premises(context)))
        return self._known[-1]

    def customers(self, context: Context, pki: Pki) -> Mapping[str, Mapping[str, str]]:  # noqa: ARG002
        """Access token of each workspace."""
        return {name: {"token": customer.token} for name, customer in self._happenings(context).premises.customers.items()}

    def tls(self, pki: Pki) -> ssl.SSLContext | None:  # noqa: ARG002
        """Plain HTTP, as the vendor's documentation shows it."""
        return None

    def app(self, context: Context) -> ASGIApp:
        """The interface."""
        return Interface(self._happenings(context)).app()

    def customer(self, context: Context, scope: Scope) -> str | None:
        """Whose token the request carries."""
        found = customer_of(self._happenings(context).premises, scope)
        return found.name if found else None

    def truth(
        self, context: Context, dataset: str, window: Window | None, customer: str | None
    ) -> Iterator[Mapping[str, Any]]:
        """What is true; see ``fleetlake.sandbox.rooms.Room``.

        Raises:
            ConfigError: no such dataset or customer.
        """
        if dataset not in DATASETS:
            raise ConfigError(f"OMNI Platform has no dataset {dataset!r}", remedy=f"one of: {', '.join(DATASETS)}")
        name = customer or CUSTOMERS[0]
        if name not in CUSTOMERS:
            raise ConfigError(f"OMNI Platform has no customer {name!r}", remedy=f"one of: {', '.join(CUSTOMERS)}")
        happenings = self._happenings(context)
        return Truth(happenings, happenings.premises.customers[name]).rows(dataset, window)


ROOM = OmniPlatformRoom()
