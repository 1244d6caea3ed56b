"""Publish what the journal names once more, from raw alone: no source is opened, no vendor is asked.

Two ways. Into the stores in use (re-driving a quarantine, deriving columns anew): under today's contracts and mappings, as a
publication of its own, which changes nothing where nothing has changed. Into stores made anew (``rebuild``): as it was then,
under the load ids and at the moments of that time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Self

from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, ContractError
from fleetlake.pipeline.entries import BatchEntry, CoverageEntry, DecisionEntry, Entry, understand
from fleetlake.pipeline.publish import Before, KnownIn, Publisher, Summary
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.raw import EntryName, Journal, RawStore
from fleetlake.reading import FLEET

if TYPE_CHECKING:
    from types import TracebackType

    from fleetlake.settings import Settings
    from fleetlake.warehouse import Warehouse
    from fleetlake.window import Window

OnEntry = Callable[[Entry], None]
"""Called after an entry was replayed."""


class Replayer:
    """Publishes journal entries of one vendor once more.

    Args:
        settings: where the stores are.
        vendor: the vendor's room.
        as_then: the stores are made anew from the journal: load ids, moments and decisions are those of that time, and
            nothing is noted. ``False``: the stores hold it all already.
        warehouse: an open one to use instead of that of the settings; it stays its owner's.
        known_in: see ``Publisher``.

    Raises:
        ConfigError: there is no such vendor, or no warehouse is configured.
    """

    def __init__(
        self,
        settings: Settings,
        vendor: str,
        *,
        as_then: bool = False,
        warehouse: Warehouse | None = None,
        known_in: KnownIn | None = None,
    ) -> None:
        from fleetlake.lake import Lake
        from fleetlake.warehouse import Warehouse

        self.journal = Journal(settings.raw_url)
        self._contracts = load_contracts(settings.include, vendor)
        self._vendor = vendor
        self._room = vendor_room(vendor)
        self._as_then = as_then
        self._is_owner = warehouse is None
        self._warehouse = warehouse or Warehouse(settings.require_warehouse())
        self._warehouse.migrate(list(self._contracts.values()), settings.include)
        self._publisher = Publisher(
            RawStore(settings.raw_url),
            Lake(settings.lake_url),
            self._warehouse,
            self._room,
            None,  # the quality pages tell of the first publication
            journal=None if as_then else self.journal,
            known_in=known_in,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back."""
        if self._is_owner:
            self._warehouse.close()

    # --- which entries --------------------------------------------------------------------------------------------------

    def entries(
        self,
        *,
        datasets: Collection[str] | None = None,
        accounts: Collection[str] | None = None,
        window: Window | None = None,
        scopes: Collection[str] | None = None,
    ) -> Iterator[Entry]:
        """Entries of the journal in the order of publication, streamed.

        A batch is chosen whole when one of its reads is: what is replayed can be more than was asked for, never less.

        Args:
            datasets: only these tables, ``schema.table``.
            accounts: only these accounts.
            window: only reads about a part of it; a stream may bring rows about any time before it ends.
            scopes: only reads about one of these vehicles, or about the whole fleet.

        Raises:
            DataError: an entry is damaged.
        """
        for name in self.journal.names(self._vendor, datasets):
            entry = self.entry(name)
            if _is_chosen(entry, accounts, window, scopes):
                yield entry

    def entry(self, name: EntryName | str) -> Entry:
        """One entry, by its name or its place.

        Raises:
            DataError: there is none, or it is damaged.
        """
        name = EntryName.parse(name) if isinstance(name, str) else name
        return understand(name, self.journal.read(name))

    def of_loads(self, load_ids: Iterable[str]) -> list[BatchEntry]:
        """The entries that tell of some loads, in the order of publication; loads older than the journal have none.

        Raises:
            DataError: one is damaged.
        """
        found = [self.entry(name) for name in self.names_of_loads(load_ids)]
        return [item for item in found if isinstance(item, BatchEntry)]

    def names_of_loads(self, load_ids: Iterable[str]) -> list[EntryName]:
        """Names of these entries, in the order of publication."""
        with self._warehouse.session() as connection:
            rows = connection.execute(
                "SELECT DISTINCT journal FROM ops.load WHERE load_id = ANY(%s) AND journal IS NOT NULL", [list(load_ids)]
            ).fetchall()
        return [name for name in sorted(EntryName.parse(row[0]) for row in rows) if name.vendor == self._vendor]

    # --- replaying ------------------------------------------------------------------------------------------------------

    def replay(
        self, entries: Iterable[Entry], *, summary: Summary | None = None, on_entry: OnEntry | None = None
    ) -> Summary:
        """Publish entries once more, in the order given, which must be that of their publication.

        Args:
            entries: of this vendor. Coverage that was recorded without a batch, and decisions, are repeated only
                ``as_then``.
            summary: counters to add to; ``batches`` and ``held`` are among them.
            on_entry: called after each entry.

        Raises:
            ContractError: a table has no contract any more.
            ConfigError: a feed does not exist any more.
            DataError: a page is missing or damaged.
            StoreUnavailable, StoreConflict: try again; what was replayed before is published.
        """
        summary = Summary() if summary is None else summary
        for entry in entries:
            if isinstance(entry, CoverageEntry):
                if self._as_then:
                    self._record_coverage(entry)
            elif isinstance(entry, DecisionEntry):
                if self._as_then:
                    self._drop(entry)
            else:
                self._publish(entry, summary)
            if on_entry:
                on_entry(entry)
        return summary

    def _publish(self, entry: BatchEntry, summary: Summary) -> None:
        dataset = entry.name.dataset
        if dataset not in self._contracts:
            raise ContractError(
                f"the journal names {dataset}, which has no contract any more",
                where=entry.name.path,
                remedy="restore the contract, or name the tables you want with --dataset",
            )
        if entry.feed not in self._room.feeds:
            raise ConfigError(
                f"the journal names the feed {entry.feed!r}, which {self._vendor} has no more",
                where=entry.name.path,
                remedy="restore the feed: its pages can be read only by it",
            )
        feed = self._room.feeds[entry.feed]
        self._publisher.publish_again(Before(entry, self._as_then), feed, self._contracts[dataset], summary)
        summary.add(dataset, batches=1)

    def _drop(self, entry: DecisionEntry) -> None:
        with self._warehouse.publishing(self._contracts[entry.name.dataset], entry.name.moment) as tx:
            tx.drop_quarantined(entry.dropped, entry.reason, entry.by)

    def _record_coverage(self, entry: CoverageEntry) -> None:
        contract = self._contracts[entry.name.dataset]
        with self._warehouse.publishing(contract, entry.name.moment) as tx:
            tx.record_coverage(entry.intervals, supersede=entry.supersede)


def _is_chosen(
    entry: Entry, accounts: Collection[str] | None, window: Window | None, scopes: Collection[str] | None
) -> bool:
    if isinstance(entry, DecisionEntry):
        return False
    if isinstance(entry, CoverageEntry):
        return any(
            (accounts is None or item.account in accounts)
            and (scopes is None or item.scope in scopes or item.scope == FLEET)
            and (window is None or (item.window.start < window.end and item.window.end > window.start))
            for item in entry.intervals
        )
    if accounts is not None and entry.run.account.name not in accounts:
        return False
    if scopes is not None and not entry.scopes & {*scopes, FLEET}:
        return False
    return window is None or entry.is_about(window)
