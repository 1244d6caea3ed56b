"""What reading will cost: requests, bytes, rows, and time at the account's quota."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from fleetlake.http.rate_gate import SHARES
from fleetlake.pipeline.history import history_of
from fleetlake.reading import Feed, Lane
from fleetlake.window import Window

if TYPE_CHECKING:
    import psycopg

    from fleetlake.accounts import Account
    from fleetlake.warehouse import Warehouse


@dataclass(frozen=True, kw_only=True)
class Price:
    """A price, or a part of one.

    Attributes:
        requests: requests the vendor's server sees.
        bytes: size of the answers' bodies, uncompressed.
        rows: rows in them.
        seconds: time at the account's quota in the backfill lane.
    """

    requests: float = 0.0
    bytes: float = 0.0
    rows: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Price) -> Price:
        return Price(**{item.name: getattr(self, item.name) + getattr(other, item.name) for item in fields(Price)})


@dataclass(frozen=True, kw_only=True)
class Quota:
    """What an account's rate gate leaves to backfills.

    Attributes:
        rate_per_s: requests per second.
        burst: requests that pass at once after a pause.
        is_seen: the gate of a run said so; else it is the vendor's default.
    """

    rate_per_s: float
    burst: float
    is_seen: bool

    def seconds(self, requests: float) -> float:
        """The shortest time in which so many requests pass."""
        return max(0.0, requests - self.burst) / self.rate_per_s


def price(warehouse: Warehouse, account: Account, feed: Feed, scopes: Sequence[str], windows: Sequence[Window]) -> Price:
    """What reading some vehicles and windows costs: one read per vehicle (or batch) and window, in one step.

    Args:
        warehouse: has the history.
        account: whose quota.
        feed: what is read.
        scopes: vehicles, or ``[FLEET]``.
        windows: one request chain each.
    """
    with warehouse.session() as connection:
        history, quota = history_of(connection, account, feed), quota_of(connection, account)
    pages = size = 0.0
    batches = math.ceil(len(scopes) / feed.batch)
    for window in windows:
        weight = history.weight(window)
        if feed.batch > 1:
            size += sum(history.bytes(scope, 1, weight) for scope in scopes)
            pages += history.fleet.pages * batches
            continue
        for scope in scopes:
            size += history.bytes(scope, 1, weight)
            pages += history.pages(scope, 1, weight)
    requests = pages + (history.extra if scopes and windows else 0.0)
    return Price(requests=requests, bytes=size, rows=history.rows(size, feed.datasets), seconds=requests / quota.rate_per_s)


def quota_of(connection: psycopg.Connection[Any], account: Account) -> Quota:
    """What the account's gate leaves to backfills: as the last run had it, else the vendor's default."""
    row = connection.execute(
        "SELECT backfill_rate_per_s, burst FROM ops.usage WHERE account = %s AND backfill_rate_per_s IS NOT NULL"
        " ORDER BY usage_id DESC LIMIT 1",
        [account.name],
    ).fetchone()
    if row:
        return Quota(rate_per_s=row[0], burst=row[1], is_seen=True)
    rate, burst = _default_rate(account.vendor)
    return Quota(rate_per_s=rate * SHARES[Lane.BACKFILL], burst=burst, is_seen=False)


def _default_rate(vendor: str) -> tuple[float, float]:
    """Requests per second and at once, by the defaults of the vendor's settings."""
    module = importlib.import_module(f"fleetlake.vendors.{vendor}.config")
    for item in vars(module).values():
        defaults = {key: one.default for key, one in getattr(item, "__dataclass_fields__", {}).items()}
        if "rate_per_s" in defaults:
            return float(defaults["rate_per_s"]), float(defaults["burst"])
        if "rate_per_min" in defaults:
            return float(defaults["rate_per_min"]) / 60, float(defaults["burst"])
    return 1.0, 1.0
