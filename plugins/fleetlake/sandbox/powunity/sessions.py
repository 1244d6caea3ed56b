"""Ways to log in: session cookie, token, Basic, and Bearer where it is switched on (POW-02)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers

from fleetlake.sandbox.dice import number
from fleetlake.sandbox.powunity import answers
from fleetlake.sandbox.powunity.customers import Customer, customers
from fleetlake.sandbox.powunity.model import to_ms
from fleetlake.sandbox.rooms import Context
from fleetlake.window import utc

COOKIE = "JSESSIONID"
_NEVER_MS = 4_102_444_800_000  # 2100-01-01


class Logins:
    """Who may come in, and who is in.

    Args:
        context: settings, world, clock.
        sessions: open sessions, cookie to number of the customer; shared by all ``Logins`` of a sandbox.
    """

    def __init__(self, context: Context, sessions: dict[str, int]) -> None:
        self._context = context
        self.customers = list(customers(context))
        self._secret = f"{number(context.settings.seed, 'powunity', 'token')}".encode()
        self._open = sessions

    def token(self, customer: Customer, expires_ms: int | None = None) -> str:
        """A token; without ``expires_ms`` the account's own, which is always the same."""
        if expires_ms is None:
            ends = customer.assumptions.token_expires
            expires_ms = to_ms(utc(ends)) if ends else _NEVER_MS
        payload = json.dumps({"u": customer.user_id, "e": expires_ms}, separators=(",", ":")).encode()
        signature = self._sign(payload)
        return base64.urlsafe_b64encode(bytes([len(signature)]) + signature + payload).decode().rstrip("=")

    def by_password(self, email: str, password: str) -> Customer:
        """The customer with these credentials.

        Raises:
            ApiError: 400, there is none.
        """
        for customer in self.customers:
            if customer.email == email and hmac.compare_digest(customer.password.encode(), password.encode()):
                return customer
        raise answers.bad_login()

    def by_token(self, token: str) -> Customer:
        """The customer with this token.

        Raises:
            ApiError: 400, it is malformed, forged or has ended.
        """
        try:
            data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
            signature, payload = data[1 : 1 + data[0]], data[1 + data[0] :]
        except (binascii.Error, ValueError, IndexError):
            raise answers.bad_login() from None
        if not hmac.compare_digest(signature, self._sign(payload)):
            raise answers.bad_login()
        content = json.loads(payload)
        if content["e"] <= self._context.clock.now_ms():
            raise token_expired()
        return next(customer for customer in self.customers if customer.user_id == content["u"])

    def open(self, customer: Customer) -> str:
        """Start a session; returns the value of its cookie."""
        value = f"node0{secrets.token_hex(12)}.node0"
        self._open[value] = customer.index
        return value

    def close(self, cookie: str | None) -> None:
        """End a session."""
        self._open.pop(cookie or "", None)

    def of_session(self, cookie: str | None) -> Customer | None:
        """The customer of an open session."""
        index = self._open.get(cookie or "")
        return None if index is None else self.customers[index]

    def of_request(self, headers: Headers) -> Customer | None:
        """The customer of any request: a given ``Authorization`` counts alone, else the cookie.

        Raises:
            ApiError: 400, the credentials are wrong.
        """
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                email, _, password = base64.b64decode(value, validate=True).decode().partition(":")
            except (binascii.Error, UnicodeDecodeError):
                raise answers.bad_login() from None
            return self.by_password(email, password)
        if scheme.lower() == "bearer":
            if not self.customers[0].assumptions.bearer:
                raise answers.ApiError(
                    400,
                    "Index 1 out of bounds for length 1 - ArrayIndexOutOfBoundsException (SecurityRequestFilter:77 < ...)",
                )
            return self.by_token(value)
        return self.of_session(cookie_of(headers))

    def _sign(self, payload: bytes) -> bytes:
        return hashlib.blake2b(payload, key=self._secret, digest_size=48).digest()


def cookie_of(headers: Headers) -> str | None:
    """Value of the session cookie."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return found.value if found else None


def token_expired() -> answers.ApiError:
    """A token that has ended."""
    return answers.ApiError(
        400, "Token has expired - SecurityException (TokenManager:86 < LoginService:64 < SessionResource:84 < ...)"
    )
