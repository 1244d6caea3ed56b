"""The vendor's three limits. Beyond one, everything of that user or that address is blocked for a while (OMN-02)."""

from __future__ import annotations

import time

from fleetlake.sandbox.omnicomm.assumptions import OmnicommAssumptions
from fleetlake.sandbox.rate_limit import RateLimit

_MINUTE_S = 60.0


class Limits:
    """Counters and blocks of one sandbox. Call it from one thread."""

    def __init__(self, assumptions: OmnicommAssumptions) -> None:
        self._block_s = assumptions.block_s
        self._calls = RateLimit(assumptions.calls_per_minute, _MINUTE_S)
        self._unauthorised = RateLimit(assumptions.unauthorised_per_minute, _MINUTE_S)
        self._failed = RateLimit(assumptions.failed_logins_per_minute, _MINUTE_S)
        self._blocked: dict[str, float] = {}

    def lets_in(self, customer: str | None, address: str) -> bool:
        """Count a request; false = it is blocked, or blocks from now on."""
        if self._is_blocked(f"ip {address}") or (customer and self._is_blocked(f"user {customer}")):
            return False
        if customer:
            return self._calls.passes(customer) or self._block(f"user {customer}")
        return self._unauthorised.passes(address) or self._block(f"ip {address}")

    def failed_login(self, address: str) -> bool:
        """Count a failed login; false = it blocks the address."""
        return self._failed.passes(address) or self._block(f"ip {address}")

    def _block(self, who: str) -> bool:
        self._blocked[who] = time.monotonic() + self._block_s
        return False

    def _is_blocked(self, who: str) -> bool:
        return self._blocked.get(who, 0.0) > time.monotonic()
