"""What the verbs of a run work with: one account's stores, contracts, vendor room and source, opened on first use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from fleetlake.contracts import Contract, load_contracts
from fleetlake.errors import ConfigError
from fleetlake.pipeline.entries import COVERAGE, by_dataset, describe_coverage
from fleetlake.pipeline.extract import extract
from fleetlake.pipeline.publish import Publisher
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.raw import Journal, RawStore
from fleetlake.reading import Feed, Source

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.coverage import Interval
    from fleetlake.lake import Lake
    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse


class Parts:
    """The parts of one account's pipeline.

    Args:
        settings: where the stores are.
        account: whose data.
        source_factory: opens the vendor's source; called at most once, when ``source`` is first used.

    Attributes:
        contracts: the vendor's contracts by table.
        room: the pure part of the vendor's room.
        raw: raw pages.
        journal: what was published from them.
    """

    def __init__(self, settings: Settings, account: Account, source_factory: Callable[[], Source]) -> None:
        self.settings = settings
        self.account = account
        self.contracts = load_contracts(settings.include, account.vendor)
        self.room = vendor_room(account.vendor)
        self.raw = RawStore(settings.raw_url)
        self.journal = Journal(settings.raw_url)
        self._source_factory = source_factory
        self._source: Source | None = None
        self._warehouse: Warehouse | None = None
        self._lake: Lake | None = None

    def use(self, warehouse: Warehouse) -> None:
        """Work with a warehouse that is open already, and stays its owner's."""
        self._warehouse = warehouse

    def close(self) -> None:
        """Give connections back."""
        if self._source is not None:
            self._source.close()
        if self._warehouse is not None:
            self._warehouse.close()

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse, migrated to this vendor's contracts."""
        if self._warehouse is None:
            from fleetlake.warehouse import Warehouse

            self._warehouse = Warehouse(self.settings.require_warehouse())
            self._warehouse.migrate(list(self.contracts.values()))
        return self._warehouse

    @property
    def lake(self) -> Lake:
        """The lake."""
        if self._lake is None:
            from fleetlake.lake import Lake

            self._lake = Lake(self.settings.lake_url)
        return self._lake

    @property
    def publisher(self) -> Publisher:
        """Publishes into lake and warehouse."""
        return Publisher(
            self.raw,
            self.lake,
            self.warehouse,
            self.room,
            self.settings.data_docs,
            journal=self.journal,
            second_look=lambda reads: extract(self.raw, self.source, reads),
        )

    def record_coverage(self, intervals: Iterable[Interval], *, supersede: bool = False) -> None:
        """Record what is known about completeness, outside a publication, and keep it in the journal.

        Args:
            intervals: of tables of this vendor.
            supersede: replace even proofs.
        """
        for dataset, items in by_dataset(intervals):
            with self.warehouse.publishing(self.contracts[dataset]) as tx:
                self.journal.write(dataset, tx.moment, COVERAGE, describe_coverage(items, supersede=supersede))
                tx.record_coverage(items, supersede=supersede)

    @property
    def source(self) -> Source:
        """The vendor."""
        if self._source is None:
            self._source = self._source_factory()
        return self._source

    def feed(self, name: str) -> Feed:
        """A feed of the vendor.

        Raises:
            ConfigError: there is none of this name; names the near match.
        """
        if name not in self.room.feeds:
            near = get_close_matches(name, self.room.feeds, 1)
            raise ConfigError(
                f"{self.account.vendor} has no feed {name!r}",
                remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(self.room.feeds)}",
            )
        return self.room.feeds[name]

    def check_datasets(self, names: Iterable[str]) -> None:
        """Tables somebody named.

        Raises:
            ConfigError: the vendor has no such table; names the near match.
        """
        for name in names:
            if name not in self.contracts:
                near = get_close_matches(name, self.contracts, 1)
                raise ConfigError(
                    f"{self.account.vendor} has no table {name!r}",
                    where="params.datasets",
                    remedy=f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(self.contracts)}",
                )

    def chunks(self, scopes: Sequence[str]) -> list[list[str]]:
        """Vehicles shared out to at most ``account.max_chunks`` tasks."""
        if not scopes:
            return []
        count = min(self.account.max_chunks, math.ceil(len(scopes) / self.account.chunk_size))
        return [list(scopes[index::count]) for index in range(count)]


def scope_column(contract: Contract) -> str:
    """The contract's column with the vehicle or device.

    Raises:
        ConfigError: it names none.
    """
    if contract.scope_column is None:
        raise ConfigError(f"{contract.table} names no scopeColumn", where=str(contract.path))
    return contract.scope_column
