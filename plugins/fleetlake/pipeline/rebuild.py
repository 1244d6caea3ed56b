"""Make lake, warehouse and ledger anew from raw and its journal alone, and bring over what differs.

The journal is replayed into a second database and a second lake beside those in use, by the same code that publishes. Then,
while the tables' publishers wait: what was published meanwhile is replayed too, the warehouse gets the differences of all
tables in one transaction, each lake table in one commit. A crash leaves a place in which the next rebuild goes on; a crash
between the lake and the warehouse's commit is mended by it too.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import Contract, load_contracts
from fleetlake.errors import ConfigError, DataError, StoreConflict
from fleetlake.lake import Lake
from fleetlake.lake.replacing import Replaced, replace_with
from fleetlake.pipeline import losses
from fleetlake.pipeline.entries import BatchEntry
from fleetlake.pipeline.publish import Summary
from fleetlake.pipeline.replay import Replayer
from fleetlake.pipeline.scratch import Scratch, purpose_of
from fleetlake.raw import EntryName, RawStore
from fleetlake.warehouse import Warehouse
from fleetlake.warehouse.exchange import LEARNED, LEDGER, Difference, Exchange
from fleetlake.window import DAY

if TYPE_CHECKING:
    import psycopg

    from fleetlake.settings import Settings

log = logging.getLogger(__name__)

_FEW = 20
"""Entries that may be left for the time in which publishers wait."""

_RESERVED = ("ops", "fleet", "public", "information_schema", "rebuild")


@dataclass(frozen=True)
class Step:
    """Where a rebuild is.

    Attributes:
        what: what is done, in words.
        done, total: entries replayed, and entries to replay.
        rows: rows replayed so far.
    """

    what: str
    done: int
    total: int
    rows: int


OnStep = Callable[[Step], None]


@dataclass(frozen=True)
class Skipped:
    """An entry of the journal that cannot be published.

    Attributes:
        table: the table, ``schema.table``.
        load: its load.
        error: why.
    """

    table: str
    load: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a rebuild did.

    Attributes:
        is_resumed: it went on where an unfinished one had stopped.
        entries: entries replayed in this go.
        rows: rows read from raw in this go.
        held: batches that a critical check holds, those held at their time included.
        held_today: of these the ones that were published at their time: their rows are not in the result.
        tables: differences of the vendors' tables; with ``into`` none, their rows are in ``aside``.
        ledger: differences of the tables of ``ops``.
        lake: what was replaced in the lake, by table.
        aside: rows left in the schema asked for, by table.
        vehicle_days: vehicle-days of which the fleet model was told.
        unnamed: pages that raw holds and no entry names, by feed: fetched and never published, or the entry is lost.
        skipped: entries that cannot be published, and nothing in use holds their rows.
        seconds: how long it took.
    """

    is_resumed: bool
    entries: int
    rows: int
    held: int
    tables: Sequence[Difference] = ()
    ledger: Sequence[Difference] = ()
    lake: Mapping[str, Replaced] = field(default_factory=dict)
    aside: Mapping[str, int] = field(default_factory=dict)
    vehicle_days: int = 0
    unnamed: Mapping[str, int] = field(default_factory=dict)
    skipped: Sequence[Skipped] = ()
    held_today: Sequence[losses.Held] = ()
    seconds: float = 0.0


def rebuild(
    settings: Settings,
    datasets: Sequence[str] | None = None,
    *,
    into: str | None = None,
    scratch: str | None = None,
    accept_loss: bool = False,
    on_step: OnStep | None = None,
) -> Report:
    """Make tables anew from raw, without asking a vendor.

    Args:
        settings: the stores in use.
        datasets: only these tables, ``schema.table``; ``None`` = all.
        into: leave the result in this schema, as ``"<vendor>_<table>"``, to be looked at; the tables in use stay as they are.
        scratch: URL of an empty database to work in; ``None`` = a second one on the warehouse's server.
        accept_loss: go on although lake or warehouse hold loads that cannot be made anew, or that today's contract holds:
            their rows will be gone.
        on_step: called after each entry and stage.

    Raises:
        ConfigError: a table or schema is not possible, or the database to work in cannot be made.
        DataError: an entry is damaged; or lake or warehouse hold loads that cannot be made anew, because the journal does
            not know them, their pages are missing or today's contract holds them. Nothing in use was changed.
        StoreConflict: another rebuild is at work, or publishers did not end.
        StoreUnavailable: a store fails. After any of these the next rebuild goes on where this one stopped.
    """
    contracts = load_contracts(settings.include)
    for name in datasets or ():
        if name not in contracts:
            raise ConfigError(f"there is no table {name!r}", remedy=f"one of: {', '.join(contracts)}")
    if into is not None and (into in _RESERVED or into.startswith("pg_") or into in {c.vendor for c in contracts.values()}):
        raise ConfigError(f"the schema {into!r} has a purpose already", where="--into", remedy="name another one")
    chosen = [contracts[name] for name in contracts if datasets is None or name in datasets]
    with Warehouse(settings.require_warehouse()) as live:
        live.migrate(list(contracts.values()), settings.include)
        with _alone(live):
            work = _Rebuild(settings, live, chosen, Scratch(settings, scratch), on_step)
            return work.run(into, accept_loss=accept_loss)


class _Rebuild:
    def __init__(
        self, settings: Settings, live: Warehouse, contracts: Sequence[Contract], scratch: Scratch, on_step: OnStep | None
    ) -> None:
        self._settings = settings
        self._live = live
        self._contracts = contracts
        self._datasets = [contract.table for contract in contracts]
        self._vendors = sorted({contract.vendor for contract in contracts})
        self._scratch = scratch
        self._on_step = on_step
        self._raw = RawStore(settings.raw_url)
        self._summary = Summary()
        self._done = self._total = 0
        self._latest: dt.datetime | None = None

    def run(self, into: str | None, *, accept_loss: bool) -> Report:
        started = time.monotonic()
        is_resumed = self._scratch.open(purpose_of(self._settings, self._datasets))
        with contextlib.ExitStack() as stack:
            self._listing = stack.enter_context(self._scratch.connected())
            self._marking = stack.enter_context(self._scratch.connected())
            self._replayers = {
                vendor: stack.enter_context(Replayer(self._scratch.settings, vendor, as_then=True, known_in=self._known_in))
                for vendor in self._vendors
            }
            if into is None and not accept_loss:
                self._look_for_losses()
            while self._catch_up(self._now()) > _FEW:
                pass
            result = self._swap(accept_loss=accept_loss) if into is None else self._set_aside(into)
            unnamed = self._unnamed()
            skipped = [Skipped(*item) for item in Scratch.skipped(self._marking)]
            held, held_today = losses.number_held(self._marking), losses.held_today(self._marking)
        self._scratch.clear()
        counts = sum(self._summary.counts.values(), Counter[str]())
        return Report(
            is_resumed=is_resumed,
            entries=self._done,
            rows=counts["read"],
            held=held,
            unnamed=unnamed,
            skipped=skipped,
            held_today=held_today,
            seconds=round(time.monotonic() - started, 3),
            **result,
        )

    # --- losses ---------------------------------------------------------------------------------------------------------

    def _look_for_losses(self) -> None:
        """Refuse, before hours of work, what the journal does not tell of. Stores first: an entry is older than its rows."""
        self._tell("looking for rows that the journal does not know")
        with self._live.session() as live:
            losses.remember(self._marking, live, Lake(self._settings.lake_url), self._contracts)
        self._enlist()
        if unknown := losses.unknown_to_journal(self._marking):
            self._refuse(losses.refusal(unknown, self._settings.raw_url))
        if vendors := losses.without_entries(self._marking, self._raw, self._whole_vendors()):
            self._refuse(
                DataError(
                    f"raw holds pages of {', '.join(vendors)}, and the journal tells nothing of them",
                    where=f"{self._settings.raw_url}/_journal",
                    remedy="restore the journal from a backup of the raw store; or give --accept-loss when these pages were"
                    " never published, or may be read from the vendor again",
                )
            )

    def _look_again(self, exchange: Exchange) -> None:
        """Refuse when rows in use did not come out of the replay."""
        unknown = losses.not_rebuilt(self._marking, Lake(self._scratch.settings.lake_url), self._contracts)
        number, example = exchange.unknown_loads(self._datasets)
        if number and example:
            unknown.append(losses.Unknown("ops.load", "warehouse", number, number, example))
        if unknown:
            skipped = [f"{table} {load}: {error}" for table, load, error in Scratch.skipped(self._marking)]
            self._refuse(losses.refusal(unknown, self._settings.raw_url, skipped))
        held = losses.held_in_lake(self._marking)
        for table, loads, rows, one, reason in exchange.held_loads(self._datasets):
            held.append(losses.Unknown(table, "warehouse", loads, rows, one, reason or ""))
        if held:
            # What was replayed is right as it is: with --accept-loss it goes on from here, with another contract anew.
            raise losses.refusal_of_held(held)

    def _refuse(self, error: DataError) -> None:
        Scratch.spoil(self._marking)
        raise error

    def _whole_vendors(self) -> list[str]:
        """Vendors of whom all tables are made anew."""
        everything = load_contracts(self._settings.include).values()
        return [name for name in self._vendors if all(c.table in self._datasets for c in everything if c.vendor == name)]

    # --- replaying ------------------------------------------------------------------------------------------------------

    def _catch_up(self, before: dt.datetime | None = None) -> int:
        """Replay what the journal names and is not replayed yet; returns how many entries that were.

        Args:
            before: only entries before this moment. Later ones may be listed although earlier ones of their table are not:
                a folder is not listed in one instant. ``None``: nobody writes any.
        """
        self._enlist()
        limit = {} if before is None else {"before": before}
        number = Scratch.count(self._marking, **limit)
        self._total += number
        for path in Scratch.todo(self._listing, **limit):
            name = EntryName.parse(path)
            replayer = self._replayers[name.vendor]
            entry = replayer.entry(name)
            error = None
            try:
                replayer.replay([entry], summary=self._summary)
            except DataError as reason:
                # What fails here failed then too, or its pages are lost: whether rows in use hang on it is looked at later.
                log.warning("%s of %s cannot be published: %s", name.load, name.dataset, reason)
                error = str(reason)
            Scratch.done(self._marking, path, entry if isinstance(entry, BatchEntry) else None, error)
            self._done += 1
            self._latest = max(self._latest or name.moment, name.moment)
            self._tell(name.dataset)
        return number

    def _enlist(self) -> None:
        """Bring the list of entries up to date."""
        since = self._latest - DAY if self._latest else None
        for vendor in self._vendors:
            Scratch.enlist(self._marking, self._replayers[vendor].journal.names(vendor, self._datasets, since))

    def _known_in(self, table: str) -> Warehouse | None:
        """Where to look up rows of a table that another one refers to: in use, when it is not among those made anew."""
        return None if table in self._datasets else self._live

    def _now(self) -> dt.datetime:
        with self._live.session() as connection:
            [(now,)] = connection.execute("SELECT clock_timestamp()")
        return now  # type: ignore[no-any-return]

    def _tell(self, what: str) -> None:
        if self._on_step:
            rows = sum(counter["read"] for counter in self._summary.counts.values())
            self._on_step(Step(what, self._done, self._total, rows))

    # --- bringing over --------------------------------------------------------------------------------------------------

    def _swap(self, *, accept_loss: bool) -> dict[str, Any]:
        with self._scratch.connected() as source, self._live.session() as target:
            target.execute("SET LOCAL lock_timeout = '15min'")
            exchange = Exchange(source, target)
            self._tell("waiting for publishers")
            exchange.lock(self._datasets)
            self._catch_up()
            if not accept_loss:
                self._look_again(exchange)
            is_modelled = target.execute("SELECT to_regclass('fleet.vehicle')").fetchone() != (None,)
            tables = []
            for contract in self._contracts:
                self._tell(f"comparing {contract.table}")
                tables.append(exchange.table(contract))
            ledger = [exchange.ledger(name, self._datasets) for name in LEDGER]
            ledger += [exchange.fill(name, self._datasets) for name in LEARNED]
            exchange.clock(self._datasets)
            # A model that was never built will be built as a whole.
            days = exchange.leave_word("rebuild", f"rebuild {self._now().isoformat()}") if is_modelled else 0
            lake, made = Lake(self._settings.lake_url), Lake(self._scratch.settings.lake_url)
            replaced = {}
            for contract in self._contracts:
                self._tell(f"lake: {contract.table}")
                replaced[contract.table] = replace_with(lake, contract, made)
            target.commit()
        return {"tables": tables, "ledger": ledger, "lake": replaced, "vehicle_days": days}

    def _set_aside(self, schema: str) -> dict[str, Any]:
        self._catch_up(self._now())
        with self._scratch.connected() as source, self._live.session() as target:
            exchange = Exchange(source, target)
            rows = {contract.table: exchange.set_aside(contract, schema) for contract in self._contracts}
            target.commit()
        return {"aside": rows}

    # --- what raw holds besides -----------------------------------------------------------------------------------------

    def _unnamed(self) -> dict[str, int]:
        """Pages that no entry names, by feed; of vendors of whom all tables are made anew."""
        connection: psycopg.Connection[Any] = self._marking
        connection.execute("CREATE TEMP TABLE held (feed text, folder text, pages integer) ON COMMIT DROP")
        with connection.cursor() as cursor, cursor.copy("COPY held FROM STDIN") as copy:
            for vendor in self._whole_vendors():
                for feed, folder, pages in self._raw.reads(vendor):
                    copy.write_row([f"{vendor}.{feed}", folder, pages])
        rows = connection.execute(
            "SELECT feed, sum(h.pages - coalesce(r.pages, 0)) FROM held h LEFT JOIN rebuild.read r USING (folder)"
            " WHERE h.pages > coalesce(r.pages, 0) GROUP BY feed ORDER BY feed"
        ).fetchall()
        connection.rollback()
        return {feed: int(pages) for feed, pages in rows}


@contextlib.contextmanager
def _alone(live: Warehouse) -> Iterator[None]:
    """Only one rebuild of a warehouse at a time; the lock ends with its connection, however that ends."""
    with live.session() as connection:
        connection.autocommit = True
        [(is_mine,)] = connection.execute("SELECT pg_try_advisory_lock(hashtextextended('fleetlake:rebuild', 0))")
        if not is_mine:
            raise StoreConflict("another rebuild of this warehouse is at work", remedy="wait for its end")
        yield
