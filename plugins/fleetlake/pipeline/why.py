"""Why a row says what it says: from the row to its load, its contract, the bytes of the vendor's answer, and the request.

The row's own provenance columns lead to the raw page; from there the row is read once more, under today's contract and mapping, and
each cell is put beside the vendor's value it is made from.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pyarrow as pa

from fleetlake.errors import DataError
from fleetlake.pipeline.batch import asked
from fleetlake.pipeline.decode import decode_rows
from fleetlake.pipeline.places import Place, Places
from fleetlake.pipeline.rooms import vendor_room
from fleetlake.raw import PageRef, RawStore
from fleetlake.reading import FLEET

if TYPE_CHECKING:
    from fleetlake.contracts import Column, Contract
    from fleetlake.settings import Settings

Connection = psycopg.Connection[Any]

_MISSING = object()

_MOST_PAGES = 5_000
"""Pages read to find the answer that an older cell of one row was taken from."""


@dataclass(frozen=True)
class Cell:
    """One column of the row.

    Attributes:
        column: its name.
        source: the vendor's field, dots between levels; ``None`` when no single field holds it.
        vendor_value: value of that field in the row that was read, as JSON has it.
        factor: column = vendor value x factor; ``None`` = 1.
        source_unit, unit: of the vendor's value and of the column.
        value: what reading the page again gives.
        stored: what the warehouse holds.
        page: raw page it is taken from, when that is another than the row's (tables that keep what a newer answer lacks).
    """

    column: str
    source: str | None
    vendor_value: Any
    factor: float | None
    source_unit: str | None
    unit: str | None
    value: Any
    stored: Any
    page: str | None = None

    @property
    def is_same(self) -> bool:
        """Reading again gives what is stored."""
        return bool(self.value == self.stored) or (self.value != self.value and self.stored != self.stored)


@dataclass
class Origin:
    """Where a row comes from.

    Attributes:
        table: its table.
        key: key columns and their values.
        row: the row as the warehouse has it.
        load: row of ``ops.load`` that last changed it; empty when the ledger does not know it.
        contract_now: version of the contract today; the load names the one of then.
        page: the raw page.
        place: byte range in the page's body.
        raw: the vendor's own JSON of the row.
        cells: each column and how it is made; empty when the page cannot be read as a row any more.
        notes: what else there is to know.
    """

    table: str
    key: dict[str, Any]
    row: dict[str, Any]
    load: dict[str, Any]
    contract_now: str
    page: PageRef
    place: Place | None
    raw: str
    cells: list[Cell] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def is_same(self) -> bool:
        """Reading the page again gives every cell of the row."""
        return bool(self.cells) and all(cell.is_same for cell in self.cells)


class Why:
    """Explains rows of the vendors' tables. Pages are remembered for a while: rows of one page cost one reading.

    Args:
        settings: where the raw store is.
        connection: to the warehouse.
    """

    def __init__(self, settings: Settings, connection: Connection) -> None:
        self._raw = RawStore(settings.raw_url)
        self._connection = connection
        self._read: Callable[[str, Contract], _Page] = lru_cache(maxsize=16)(self._read_page)

    def origin(self, contract: Contract, row: Mapping[str, Any]) -> Origin:
        """Where a row comes from.

        Args:
            contract: its table.
            row: all columns of ``Contract.all_columns``, as the warehouse has them.

        Raises:
            DataError: its raw page is missing or damaged, or has no such row.
        """
        page = self._read(row["raw_page"], contract)
        index = int(row["raw_row"])
        if index >= len(page.places.rows):
            raise DataError(
                f"the page has {len(page.places.rows)} rows of {contract.table}, not {index + 1}",
                where=row["raw_page"],
                remedy="the way the page is cut has changed since: `fleetlake rebuild` makes the table anew",
            )
        place = page.places.of(index)
        read = bytes(page.places.rows[index])
        text = page.body[place.start : place.end] if place else read
        found = Origin(
            table=contract.table,
            key={name: row[name] for name in contract.key},
            row=dict(row),
            load=self._load(row["load_id"]),
            contract_now=contract.version,
            page=page.ref,
            place=place,
            raw=text.decode(errors="replace"),
        )
        self._add_notes(found, row)
        replayed = page.row(index)
        if replayed is None:
            found.notes.append("read under today's contract, the row would be set aside: see `fleetlake quarantine`")
            return found
        fields = _decoded(read)
        found.cells = [_cell(column, fields, replayed[column.name], row[column.name]) for column in contract.columns]
        if contract.merge == "coalesce" and not found.is_same:
            self._fill(found, contract, row)
        return found

    # --- parts ----------------------------------------------------------------------------------------------------------

    def _read_page(self, path: str, contract: Contract) -> _Page:
        return _Page(self._raw, path, contract)

    def _load(self, load_id: str) -> dict[str, Any]:
        return next(self._rows("SELECT * FROM ops.load WHERE load_id = %s", [load_id]), {})

    def _rows(self, query: str, values: list[Any]) -> Iterator[dict[str, Any]]:
        cursor = self._connection.execute(query.encode(), values)
        names = [item.name for item in cursor.description or ()]
        yield from (dict(zip(names, row, strict=True)) for row in cursor.fetchall())

    def _add_notes(self, found: Origin, row: Mapping[str, Any]) -> None:
        if row["deleted_at"] is not None:
            first = next(
                self._rows(
                    "SELECT load_id, run_id FROM ops.read WHERE folder = %s AND dataset = %s",
                    [found.page.key.folder, found.table],
                ),
                None,
            )
            found.notes.append(
                "the vendor no longer has it: the load above marked it deleted"
                + (f"; load {first['load_id']} (run {first['run_id']}) had brought it" if first else "")
            )
        place = found.place
        if place is None:
            found.notes.append("the row is not one object of the answer: it is shown as it was read")
            return
        if place.elsewhere:
            places = ", ".join(f"{start}-{end}" for start, end in place.elsewhere)
            found.notes.append(f"the answer repeats it at bytes {places}: one row is made of them")
        if place.added:
            where = f"; all it is made of lies in bytes {place.around[0]}-{place.around[1]}" if place.around else ""
            found.notes.append(f"read beside it (from the request, or from around it): {', '.join(place.added)}{where}")

    def _fill(self, found: Origin, contract: Contract, row: Mapping[str, Any]) -> None:
        """Of a table that keeps what a newer answer lacks: which earlier answers hold the other cells."""
        for path in self._other_pages(contract, row):
            try:
                page = self._read(path, contract)
            except DataError:
                continue
            other = page.row_with({name: row[name] for name in contract.key[1:]})
            if other is None:
                continue
            index, values = other
            fields = _decoded(bytes(page.places.rows[index]))
            for number, cell in enumerate(found.cells):
                if not cell.is_same and values[cell.column] is not None:
                    filled = _cell(contract.column(cell.column), fields, values[cell.column], cell.stored, path)
                    if filled.is_same:
                        found.cells[number] = filled
            if found.is_same:
                return

    def _other_pages(self, contract: Contract, row: Mapping[str, Any]) -> Iterator[str]:
        """Pages that may hold the row too, the newest first: about its vehicle, about all, or about a batch with it."""
        time = row[contract.time_column] if contract.time_column else None
        vehicle = str(row[contract.scope_column]) if contract.scope_column else None
        reads = self._rows(
            "SELECT folder, pages, starts_with(scope, 'batch-') AS is_batch FROM ops.read"
            " WHERE account = %s AND dataset = %s AND folder <> %s AND NOT is_held"
            " AND (%s::text IS NULL OR scope IN (%s, %s) OR starts_with(scope, 'batch-'))"
            " AND (%s::timestamptz IS NULL OR window_start IS NULL OR (window_start <= %s AND window_end > %s))"
            " ORDER BY published_at DESC",
            [
                *(row["account"], contract.table, row["raw_page"].rpartition("/")[0]),
                *(vehicle, vehicle, FLEET),
                *(time, time, time),
            ],
        )
        left = _MOST_PAGES
        for read in reads:
            for path in (f"{read['folder']}/{number:06d}.page" for number in range(read["pages"])):
                if vehicle is not None and read["is_batch"] and not self._is_about(path, vehicle):
                    continue
                yield path
                left -= 1
                if not left:
                    return

    def _is_about(self, path: str, vehicle: str) -> bool:
        """A batch's page holds a vehicle; a page that names none may."""
        try:
            scopes = self._raw.meta(path).scopes
        except DataError:
            return False
        return not scopes or vehicle in scopes


class _Page:
    """A raw page, cut and typed."""

    def __init__(self, raw: RawStore, path: str, contract: Contract) -> None:
        room = vendor_room(contract.vendor)
        self.ref = raw.meta(path)
        self.body = raw.body(path)
        question = asked(self.ref)

        def split(body: bytes) -> list[msgspec.Raw]:
            return room.split(self.ref.feed, contract.table, body, question)

        self.places = Places(self.body, split)
        # The whole page: some columns number rows that are alike.
        decoded = decode_rows(contract, self.places.rows, room.derivations.get(contract.table))
        self._table = decoded.table
        self._positions = {index: position for position, index in enumerate(decoded.indices)}
        self._json = [column.name for column in contract.columns if column.type == "jsonb"]

    def row(self, index: int) -> dict[str, Any] | None:
        """Business columns of a row; ``None`` when it cannot be typed."""
        if index not in self._positions:
            return None
        return self._plain(self._table.slice(self._positions[index], 1))

    def row_with(self, key: Mapping[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """The last row with a key: its number in the page, and its business columns."""
        keys = self._table.select(list(key)).to_pylist()
        for index, position in reversed(self._positions.items()):
            if keys[position] == key:
                return index, self._plain(self._table.slice(position, 1))
        return None

    def _plain(self, table: pa.Table) -> dict[str, Any]:
        row: dict[str, Any] = table.to_pylist()[0]
        for name in self._json:
            if row[name] is not None:
                row[name] = msgspec.json.decode(row[name])
        return row


def _cell(column: Column, fields: Any, value: Any, stored: Any, page: str | None = None) -> Cell:
    vendor_value = _at(fields, column.source) if column.source else _MISSING
    return Cell(
        column=column.name,
        source=column.source,
        vendor_value=None if vendor_value is _MISSING else vendor_value,
        factor=column.factor,
        source_unit=column.source_unit,
        unit=column.unit,
        value=_utc(value),
        stored=_utc(stored),
        page=page,
    )


def _utc(value: Any) -> Any:
    return value.astimezone(dt.UTC) if isinstance(value, dt.datetime) else value


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _at(fields: Any, path: str) -> Any:
    """Value at a path of names; ``_MISSING`` when there is none."""
    for name in path.split("."):
        if not isinstance(fields, dict) or name not in fields:
            return _MISSING
        fields = fields[name]
    return fields
