"""The vehicles of an account: which there are, what people call them, and whether a list of them is believed."""

from __future__ import annotations

import logging
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from fleetlake.errors import UnknownVehicle
from fleetlake.pipeline.extract import Extracted, Read, extract
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
        columns = ["deleted_at", *self._parts.room.identities]
        rows = self._parts.warehouse.rows(self.contract, account=self._parts.account.name, columns=columns)
        return [row for row in rows if row["deleted_at"] is None]

    def chosen(self, run: Run) -> list[str]:
        """Vendor ids the run is about, sorted."""
        contract = self.contract
        named_by = scope_column(contract)
        names: dict[str, str] = {}
        scopes = set()
        for row in self.rows():
            scope = str(row[named_by])
            scopes.add(scope)
            names |= {str(row[column]).lower(): scope for column in self._parts.room.identities if row[column] is not None}
        if not run.vehicles:
            return sorted(scopes)
        chosen = set()
        for vehicle in run.vehicles:
            if vehicle.lower() not in names:
                near = get_close_matches(vehicle.lower(), names, 1, 0.5)
                raise UnknownVehicle(
                    f"account {self._parts.account.name!r} has no vehicle {vehicle!r}",
                    where="params.vehicles",
                    remedy=f"did you mean {near[0]!r}?" if near else f"select * from {contract.table}",
                )
            chosen.add(names[vehicle.lower()])
        return sorted(chosen)

    def is_believed(self, run: Run, result: Extracted) -> bool:
        """Whether a list (of vehicles, of geofences …) may mark what it lacks as deleted.

        A list carries no proof that it is whole. So what is missing must be missing from a second reading too, and a list
        that lost more than a tenth of its items (and more than one) is not believed at all, unless forced.
        """
        contract = self._parts.contracts[result.read.feed.datasets[0]]
        column = contract.scope_column or contract.key[1]
        rows = self._parts.warehouse.rows(contract, account=self._parts.account.name, columns=["deleted_at", column])
        known = {str(row[column]) for row in rows if row["deleted_at"] is None}

        def missing(answer: Extracted) -> set[str]:
            values, are_all = self._parts.publisher.values(contract, answer, column)
            return known - {str(value) for value in values} if are_all else set()

        gone = missing(result) if result.is_complete else set()
        if not gone:
            return True
        shown = ", ".join(sorted(gone)[:SHOWN])
        if len(gone) > max(1, len(known) // 10) and not run.force:
            log.warning(
                "%s: the list lacks %d of %d known (%s): none is marked deleted; force a run if they are really gone",
                contract.table,
                len(gone),
                len(known),
                shown,
            )
            return False
        read = result.read
        again = Read(feed=read.feed, key=replace(read.key, read=f"{read.key.read}-again"))
        for second in extract(self._parts.raw, self._parts.source, [again]):
            if second.is_complete and gone <= missing(second):
                return True
        log.warning("%s: a second reading does not confirm that %s is gone", contract.table, shown)
        return False
