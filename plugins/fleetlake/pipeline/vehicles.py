"""The vehicles of an account: which there are, and what people call them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fleetlake.errors import UnknownVehicle
from fleetlake.pipeline.parts import Parts, scope_column
from fleetlake.reading import Kind

if TYPE_CHECKING:
    from fleetlake.contracts import Contract
    from fleetlake.pipeline.run import Run

log = logging.getLogger(__name__)

SHOWN = 5
"""Vehicles named in an error or a log line; the rest is counted."""


class Vehicles:
    """The vehicles (or devices, or cameras) of one account, as the warehouse knows them.

    Args:
        parts: the account's.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    @property
    def contract(self) -> Contract:
        """Contract of the table that lists the vendor's vehicles."""
        feed = next(item for item in self._parts.room.feeds.values() if item.kind is Kind.SNAPSHOT)
        return self._parts.contracts[feed.datasets[0]]

    def rows(self) -> list[dict[str, Any]]:
        """The vehicles that are not marked deleted: the columns by which people name them."""
        return [row for row in self._all_rows() if row["deleted_at"] is None]

    def _all_rows(self) -> list[dict[str, Any]]:
        """Those that are marked deleted first."""
        columns = ["deleted_at", *self._parts.room.identities]
        rows = self._parts.warehouse.rows(self.contract, account=self._parts.account.name, columns=columns)
        return sorted(rows, key=lambda row: row["deleted_at"] is None)

    def known(self) -> tuple[set[str], dict[str, str]]:
        """Vendor ids of all vehicles, and the vendor id by every name of a vehicle, in lower case.

        The names are those of vehicles marked deleted too: whoever names one means it, and its past may still be to be had. A
        name that has gone over to another vehicle is that one's.
        """
        named_by = scope_column(self.contract)
        names: dict[str, str] = {}
        scopes = set()
        for row in self._all_rows():
            scope = str(row[named_by])
            if row["deleted_at"] is None:
                scopes.add(scope)
            names |= {str(row[column]).lower(): scope for column in self._parts.room.identities if row[column] is not None}
        return scopes, names

    def chosen(self, run: Run) -> list[str]:
        """Vendor ids the run is about, sorted: those it names, or all that are not marked deleted.

        Raises:
            UnknownVehicle: the account has no vehicle of a name in the run's params.
        """
        scopes, names = self.known()
        if not run.vehicles:
            return sorted(scopes)
        for vehicle in run.vehicles:
            if vehicle.lower() not in names:
                raise unknown_vehicle([self._parts.account.name], vehicle, names, self.contract.table)
        return sorted({names[vehicle.lower()] for vehicle in run.vehicles})


def unknown_vehicle(accounts: Sequence[str], vehicle: str, names: Iterable[str], table: str) -> UnknownVehicle:
    """The error for a name that none of the accounts knows, with the name most like it."""
    near = get_close_matches(vehicle.lower(), list(names), 1, 0.5)
    who = f"account {accounts[0]!r} has" if len(accounts) == 1 else f"none of the accounts {', '.join(accounts)} has a"
    return UnknownVehicle(
        f"{who} {'no ' if len(accounts) == 1 else ''}vehicle {vehicle!r}",
        where="params.vehicles",
        remedy=f"did you mean {near[0]!r}?" if near else f"select * from {table}",
    )
