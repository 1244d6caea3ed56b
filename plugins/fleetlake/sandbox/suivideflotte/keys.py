"""Keys of the customers: the persistent token, and tokens of the password grant with their refresh (sections 1.1, 1.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.suivideflotte.answers import OauthError
from fleetlake.sandbox.suivideflotte.park import CUSTOMERS, Park
from fleetlake.sandbox.world import DAY_S
from fleetlake.window import utc

_FIRST_USER = 501
_PERSISTENT_LIFE_S = 5 * 365 * DAY_S + DAY_S  # five years
_CLAIMED_LIFE_S = 216_000  # what the sample's `exp` says; `expires_in` says otherwise, and counts
_REFRESH_BYTES = 512
_NONCE_BYTES, _TAG_BYTES = 12, 16


@dataclass(frozen=True)
class Key:
    """A key that was shown and is in force.

    Attributes:
        id: of the token.
        scopes: rights; ``*`` = all of the user's.
    """

    id: str
    customer: str
    scopes: frozenset[str]

    def allows(self, scope: str) -> bool:
        """The key has this right."""
        return bool(self.scopes & {scope, "*"})


class Keys:
    """Issues and checks the keys of one sandbox.

    Tokens are signed and sealed with secrets made from the seed, so the customers' keys survive a restart. They are signed
    with HMAC instead of RSA: to a client they are opaque.
    """

    def __init__(self, park: Park) -> None:
        self._context = park.context
        self._assumptions = park.assumptions
        self._seal = AESGCM(_secret(park.context, "seal"))
        self._started = time.monotonic()
        self._revoked: set[str] = set()

    def now(self) -> float:
        """The moment for tokens, seconds since 1970: the sandbox's clock; one that stands still goes on with real time."""
        clock = self._context.clock
        return clock.now().timestamp() + (time.monotonic() - self._started if clock.as_of else 0.0)

    def persistent(self, customer: str) -> str:
        """The customer's persistent token, always the same."""
        written = self._assumptions.token_issued
        issued = int(utc(written).timestamp()) if written else self._context.world.first_day * DAY_S
        scopes = self._assumptions.scopes.split()
        return self._token(customer, f"persistent-{customer}", issued, issued + _PERSISTENT_LIFE_S, scopes)

    def application(self, customer: str) -> dict[str, str]:
        """The customer's Application key, and a user to log in."""
        seed = self._context.settings.seed
        return {
            "client_id": str(CUSTOMERS.index(customer) + 21),
            "client_secret": _secret(self._context, f"client {customer}").hex()[:40],
            "username": f"{customer}@flotte.example",
            "password": f"{customer}-{number(seed, 'suivideflotte', customer, 'password'):016x}",
        }

    def login(self, asked: Any) -> dict[str, Any]:
        """Answer of ``POST /oauth2``.

        Raises:
            OauthError: 400 something is missing, 401 wrong client or user.
        """
        given = _texts(asked, "client_id", "client_secret", "username", "password")
        for customer in CUSTOMERS:
            known = self.application(customer)
            if given["client_id"] == known["client_id"]:
                self._check_client(given, known)
                if all(_equal(given[name], known[name]) for name in ("username", "password")):
                    return self._issue(customer)
                raise OauthError(401, "invalid_credentials", "The user credentials were incorrect.")
        raise _wrong_client()

    def refresh(self, asked: Any, cookie: str | None, *, expired: bool = False) -> dict[str, Any]:
        """Answer of ``POST /oauth2/refresh``.

        Args:
            asked: the body.
            cookie: refresh token of a browser, counts when the body has none.
            expired: play that the token is no longer known.

        Raises:
            OauthError: 400 the token is of no use (with a hint), 401 wrong client.
        """
        if isinstance(asked, dict) and cookie and not asked.get("refresh_token"):
            asked = {**asked, "refresh_token": cookie}
        given = _texts(asked, "client_id", "client_secret", "refresh_token")
        customer = next((name for name in CUSTOMERS if given["client_id"] == self.application(name)["client_id"]), None)
        if customer is None:
            raise _wrong_client()
        self._check_client(given, self.application(customer))
        content = self._open(given["refresh_token"])
        if content["client"] != given["client_id"]:
            raise _useless("Token is not linked to client")
        if self.now() >= content["ends"]:
            raise _useless("Token has expired")
        if expired or content["id"] in self._revoked:
            raise _useless("Token has been revoked")
        if self._assumptions.rotation:
            self._revoked.add(content["id"])
        if self._assumptions.refresh_ends_access:
            self._revoked.add(content["access"])
        return self._issue(customer)

    def of(self, authorization: str) -> Key | None:
        """The key of an ``Authorization`` header, ``None`` if there is none in force."""
        claims = _claims(self._context, authorization)
        if claims is None or claims["jti"] in self._revoked:
            return None
        is_persistent = claims["jti"].startswith("persistent-")
        ends = claims["exp"] if is_persistent else claims["iat"] + self._assumptions.token_life_s
        if not claims["nbf"] <= self.now() < ends:
            return None
        return Key(claims["jti"], _customer(claims), frozenset(claims["scopes"]))

    @staticmethod
    def _check_client(given: Mapping[str, str], known: Mapping[str, str]) -> None:
        if not _equal(given["client_secret"], known["client_secret"]):
            raise _wrong_client()

    def _issue(self, customer: str) -> dict[str, Any]:
        identity, now = secrets.token_hex(40), int(self.now())
        content = {
            "id": secrets.token_hex(40),
            "access": identity,
            "client": self.application(customer)["client_id"],
            "ends": now + self._assumptions.refresh_life_s,
        }
        return {
            "access_token": self._token(customer, identity, now, now + _CLAIMED_LIFE_S, ["*"]),
            "expires_in": int(self._assumptions.token_life_s),
            "refresh_token": self._close(content),
        }

    def _token(self, customer: str, identity: str, issued: int, ends: int, scopes: list[str]) -> str:
        head = {"typ": "JWT", "alg": "HS256", "jti": identity}
        claims = {
            "aud": self.application(customer)["client_id"],
            "jti": identity,
            "iat": issued,
            "nbf": issued,
            "exp": ends,
            "sub": str(_FIRST_USER + CUSTOMERS.index(customer)),
            "scopes": scopes,
        }
        signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
        return f"{signed}.{_encode(_sign(self._context, signed))}"

    def _close(self, content: Mapping[str, Any]) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        text = json.dumps(content).encode().ljust(_REFRESH_BYTES - _NONCE_BYTES - _TAG_BYTES)
        return base64.b64encode(nonce + self._seal.encrypt(nonce, text, None)).decode()

    def _open(self, token: str) -> dict[str, Any]:
        try:
            data = base64.b64decode(token, validate=True)
            content: dict[str, Any] = json.loads(self._seal.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], None))
        except (ValueError, InvalidTag):
            raise _useless("Cannot decrypt the refresh token") from None
        return content


def owner_of(context: Context, authorization: str) -> str | None:
    """Whose key this is, in force or not; ``None`` = nobody's."""
    claims = _claims(context, authorization)
    return _customer(claims) if claims else None


def _claims(context: Context, authorization: str) -> dict[str, Any] | None:
    scheme, _, token = authorization.partition(" ")
    signed, _, signature = token.strip().rpartition(".")
    if scheme.lower() != "bearer" or not _equal(signature, _encode(_sign(context, signed))):
        return None
    text = signed.partition(".")[2]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims


def _customer(claims: Mapping[str, Any]) -> str:
    return CUSTOMERS[int(claims["sub"]) - _FIRST_USER]


def _texts(asked: Any, *names: str) -> dict[str, str]:
    """These members of a body, as text: clients may write numbers."""
    given = asked if isinstance(asked, dict) else {}
    for name in names:
        if not isinstance(given.get(name), str | int) or given[name] == "":
            raise OauthError(
                400,
                "invalid_request",
                "The request is missing a required parameter, includes an invalid parameter value, "
                "includes a parameter more than once, or is otherwise malformed.",
                f"Check the `{name}` parameter",
            )
    return {name: str(given[name]) for name in names}


def _wrong_client() -> OauthError:
    return OauthError(401, "invalid_client", "Client authentication failed")


def _useless(hint: str) -> OauthError:
    return OauthError(400, "invalid_request", "The refresh token is invalid.", hint)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _sign(context: Context, text: str) -> bytes:
    return hmac.digest(_secret(context, "sign"), text.encode(), "sha256")


def _secret(context: Context, what: str) -> bytes:
    return hashlib.blake2b(f"{context.settings.seed} suivideflotte {what}".encode(), digest_size=32).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
