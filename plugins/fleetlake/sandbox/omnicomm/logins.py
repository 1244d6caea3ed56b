"""Tokens: JSON web tokens with the claims that were seen, signed by the sandbox's seed, so nothing is stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.omnicomm.assumptions import OmnicommAssumptions
from fleetlake.sandbox.omnicomm.park import CUSTOMERS
from fleetlake.sandbox.rooms import Context

ACCESS, REFRESH = "access", "refresh"
_PERMISSIONS = [
    "#User",
    "ase.reports.consolidatedReport",
    "ase.reports.statistics",
    "ase.groups.vehicle.view",
    "service.ovms",
]


@dataclass
class State:
    """What a sandbox remembers of its tokens: since when it runs, and which were made bad."""

    started: float = field(default_factory=time.monotonic)
    gone: set[str] = field(default_factory=set)


class Logins:
    """Who may come in.

    Args:
        context: settings, world, clock.
        assumptions: how long tokens live, and what they claim.
        state: shared by all ``Logins`` of a sandbox.
    """

    def __init__(self, context: Context, assumptions: OmnicommAssumptions, state: State) -> None:
        self._context = context
        self._assumptions = assumptions
        self._state = state
        self._key = f"{number(context.settings.seed, 'omnicomm', 'token')}".encode()

    def now(self) -> int:
        """Seconds since 1970: the sandbox's clock; where that stands still, real seconds pass on top of it."""
        passed = time.monotonic() - self._state.started if self._context.clock.as_of else 0.0
        return int(self._context.clock.now().timestamp() + passed)

    def credentials(self, customer: str) -> dict[str, str]:
        """Login and password."""
        return {
            "login": f"{customer}.reader",
            "password": f"pw-{number(self._context.settings.seed, 'omnicomm', customer, 'password'):016x}",
        }

    def by_password(self, login: object, password: object) -> str | None:
        """The customer with these credentials."""
        for customer in CUSTOMERS:
            known = self.credentials(customer)
            right = hmac.compare_digest(known["password"].encode(), str(password).encode())
            if login == known["login"] and right:
                return customer
        return None

    def pair(self, customer: str) -> dict[str, str]:
        """A new access token and a new refresh token."""
        now = self.now()
        access = {**self._claims(customer), "iat": now, "exp": now + self._assumptions.token_life_s, "aud": "ase"}
        refresh = {"login": access["login"], "iat": now, "exp": now + self._assumptions.refresh_life_s, "aud": REFRESH}
        # Every token is another one, also within a second.
        return {
            "jwt": self._sign({**access, "jti": secrets.token_hex(8)}),
            "refresh": self._sign({**refresh, "jti": secrets.token_hex(8)}),
        }

    def customer_of(self, authorization: str, kind: str = ACCESS) -> str | None:
        """Whose token it is, if it is good: ``JWT <token>``; a refresh token may come without the word (OMN-03)."""
        scheme, _, token = authorization.partition(" ")
        if kind == REFRESH and not token:
            scheme, token = "JWT", authorization
        if scheme != "JWT" or token in self._state.gone:
            return None
        claims = self._read(token)
        if claims is None or (claims["aud"] == REFRESH) != (kind == REFRESH) or claims["exp"] <= self.now():
            return None
        return str(claims["login"]).partition(".")[0]

    def revoke(self, authorization: str) -> None:
        """Make a token bad: for the fault ``expired``."""
        self._state.gone.add(authorization.rpartition(" ")[2])

    def _claims(self, customer: str) -> dict[str, Any]:
        root = number("omnicomm", customer) % 10_000

        def unique(name: str) -> str:
            return str(uuid.uuid3(uuid.NAMESPACE_OID, f"omnicomm {customer} {name}"))

        server = {"id": 3, "host": "10.0.0.3", "port": 8085, "slug": "main", "fqdn": "main.example"}
        return {
            "id": root,
            "login": self.credentials(customer)["login"],
            "uuid": unique("user"),
            "autocheck_id": root + 100,
            "permissions": _PERMISSIONS,
            **{f"{kind}group_id": unique(kind) for kind in ("driver", "vehicle", "geozone", "route")},
            "usergroup_id": None,
            "server_name": "main",
            "max_report_period": self._assumptions.max_report_period,
            "server": {**server, "volume_units": self._assumptions.volume_units, "light": 0},
            "roles": [{"id": 5, "name": "Reader", "slug": "reader", "weight": 10}],
            "wl": {},
        }

    def _sign(self, claims: dict[str, Any]) -> str:
        head = _encode(json.dumps({"alg": "HS256", "typ": "JWT"}, separators=(",", ":")).encode())
        body = f"{head}.{_encode(json.dumps(claims, separators=(',', ':')).encode())}"
        return f"{body}.{self._signature(body)}"

    def _read(self, token: str) -> dict[str, Any] | None:
        body, _, signature = token.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        payload = body.partition(".")[2]
        try:
            claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (binascii.Error, ValueError):
            return None
        return claims

    def _signature(self, body: str) -> str:
        return _encode(hmac.new(self._key, body.encode(), hashlib.sha256).digest())


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
