"""Batches: typed rows of several reads, published at once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fleetlake.pipeline.decode import Reject, decode_rows
from fleetlake.reading import FLEET, Asked, Kind

if TYPE_CHECKING:
    import msgspec

    from fleetlake.contracts import Contract
    from fleetlake.pipeline.extract import Extracted
    from fleetlake.raw import PageRef, RawStore
    from fleetlake.reading import Derivation

MAX_ROWS = 50_000
"""Rows after which a batch is published and the next begun: memory does not grow with a window or a fleet."""


@dataclass(frozen=True)
class RawReject:
    """A row that could not be typed, with its bytes.

    Attributes:
        scope: vehicle or device of the read.
        page: raw page that holds it.
        reject: index in the page, column and reason.
        raw: the vendor's JSON.
    """

    scope: str
    page: PageRef
    reject: Reject
    raw: str


@dataclass(frozen=True)
class Part:
    """The pages of one read that lie in one batch.

    Attributes:
        result: the read.
        pages: its pages in the batch.
        ends: the read ends in this batch; then ``result`` has all its pages.
    """

    result: Extracted
    pages: Sequence[PageRef]
    ends: bool

    @property
    def is_whole(self) -> bool:
        """All pages of the read are in the batch."""
        return self.ends and len(self.pages) == len(self.result.pages)


@dataclass
class Batch:
    """What is published at once.

    Attributes:
        contract: the dataset.
        load_id: digest of contract version and pages: the same pages give the same load.
        table: rows in the shape of ``Contract.all_columns``; later rows replace earlier ones with the same key.
        reads: reads that end in this batch.
        whole: scopes and windows of complete reads that lie in this batch entirely: absent rows are gone.
        rejects: rows that could not be typed.
        rows_read: rows in the pages.
        outside: rows left out because their time lies outside the window asked for.
        unknown_fields: vendor fields that the contract does not name.
        foreign: folders of reads that hold rows about another vehicle than asked: such an answer proves nothing.
        rows_of: rows of each read that ends here, those in earlier batches included, by its folder and scope.
        parts: which pages of which reads it is made of: what is needed to make it again.
        earlier_rows: rows that earlier batches hold of reads that go on in this one, by folder and scope.
        distinct: rows that came, whatever became of them, each counted once, of each read that ends here and whose rows the
            vendor counts; by its folder.
    """

    contract: Contract
    load_id: str
    table: pa.Table
    reads: list[Extracted]
    pages: list[PageRef]
    whole: list[Extracted]
    rejects: list[RawReject]
    rows_read: int
    outside: int
    unknown_fields: frozenset[str] = field(default=frozenset())
    foreign: frozenset[str] = field(default=frozenset())
    rows_of: dict[tuple[str, str], int] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    earlier_rows: dict[tuple[str, str], int] = field(default_factory=dict)
    distinct: dict[str, int] = field(default_factory=dict)


Split = Callable[[str, str, bytes, Asked], "list[msgspec.Raw]"]


class Batcher:
    """Cuts reads into batches.

    Args:
        raw: where the pages are.
        contract: the dataset to fill.
        split: the vendor's function that splits a page into rows: feed, dataset, body, what was asked.
        derivation: the vendor's derived columns.
        max_rows: see ``MAX_ROWS``.
    """

    def __init__(
        self, raw: RawStore, contract: Contract, split: Split, derivation: Derivation | None, max_rows: int = MAX_ROWS
    ) -> None:
        self._raw = raw
        self._contract = contract
        self._split = split
        self._derivation = derivation
        self._max_rows = max_rows
        self._counts: Counter[tuple[str, str]] = Counter()
        self._foreign: set[str] = set()
        self._came: defaultdict[str, _Came] = defaultdict(lambda: _Came(contract))

    def batches(self, extracted: Iterable[Extracted]) -> Iterator[Batch]:
        """Batches over the reads, in order; reads without pages are passed on too, so that their failure is recorded."""
        draft = _Draft(self._contract)
        for result in extracted:
            start = 0
            for number, page in enumerate(result.pages):
                if draft.rows >= self._max_rows:
                    draft.take(Part(result, result.pages[start:number], ends=False))
                    yield self._finish(draft)
                    draft = _Draft(self._contract)
                    start = number
                self._add(draft, result, page)
            draft.take(Part(result, result.pages[start:], ends=True))
        if draft.parts:
            yield self._finish(draft)

    def again(self, parts: Iterable[Part], earlier_rows: Mapping[tuple[str, str], int], foreign: Iterable[str]) -> Batch:
        """A batch that was made before, made of the same pages again.

        Args:
            parts: what it was made of: ``Batch.parts``.
            earlier_rows: ``Batch.earlier_rows``.
            foreign: ``Batch.foreign``.
        """
        self._counts = Counter(earlier_rows)
        self._foreign = set(foreign)
        parts = list(parts)
        batch = self._made_of([part for part in parts if not part.result.read.is_again])
        seconds = [part for part in parts if part.result.read.is_again]
        return _join(batch, self._made_of(seconds)) if seconds else batch

    def joined(self, batch: Batch, seconds: Iterable[Extracted]) -> tuple[Batch, Batch]:
        """A batch with the rows of second readings, which win over its own; and a batch of these rows alone."""
        again = self._made_of([Part(result, result.pages, ends=True) for result in seconds])
        return _join(batch, again), again

    def _made_of(self, parts: Iterable[Part]) -> Batch:
        draft = _Draft(self._contract)
        for part in parts:
            for page in part.pages:
                self._add(draft, part.result, page)
            draft.take(part)
        return self._finish(draft)

    def _finish(self, draft: _Draft) -> Batch:
        batch = draft.finish()
        folders = {part.result.read.key.folder for part in batch.parts}
        batch.foreign = frozenset(self._foreign & folders)
        batch.earlier_rows = {asked: count for asked, count in self._counts.items() if asked[0] in folders}
        # Rows repeated at page borders count once: they are one row in the batch's table.
        scope_of = {page.path: page.key for page in batch.pages}
        column = self._contract.scope_column
        names = ["raw_page", column] if column else ["raw_page"]
        for row in batch.table.group_by(names).aggregate([([], "count_all")]).to_pylist():
            key = scope_of[row["raw_page"]]
            scope = str(row[column]) if column and draft.batched.get(key.folder) else key.scope
            self._counts[key.folder, scope] += row["count_all"]
        batch.rows_of = {
            (result.read.key.folder, scope): self._counts.pop((result.read.key.folder, scope), 0)
            for result in batch.reads
            for scope in result.read.all_scopes
        }
        ended = {result.read.key.folder for result in batch.reads}
        batch.distinct = {folder: self._came.pop(folder).rows for folder in ended & self._came.keys()}
        return batch

    def _add(self, draft: _Draft, result: Extracted, page: PageRef) -> None:
        contract = self._contract
        draft.batched[page.key.folder] = bool(result.read.scopes)
        draft.pages.append(page)
        if page.refusal:
            return  # kept as evidence, holds no rows
        rows = self._split(page.key.feed, contract.table, self._raw.body(page), asked(page))
        decoded = decode_rows(contract, rows, self._derivation)
        table = with_provenance(contract, decoded.table, decoded.indices, page)
        is_counted = any(one.total is not None for one in result.pages)
        if is_counted and contract.table == result.read.feed.datasets[0]:
            self._came[page.key.folder].add(table, [bytes(rows[reject.index]) for reject in decoded.rejects])
        window = result.read.window
        if window is not None and contract.time_column and not result.read.stream:
            time = table[contract.time_column]
            start, end = (pa.scalar(moment, time.type) for moment in (window.start, window.end))
            inside = pc.or_kleene(
                pc.and_(pc.greater_equal(time, start), pc.less(time, end)),
                pc.is_null(time),  # a row without its time is judged by the audit, not lost here
            )
            kept = table.filter(inside)
            draft.outside += table.num_rows - kept.num_rows
            table = kept
        table = self._own(draft, result, page, rows, table)
        draft.tables.append(table)
        draft.rows += table.num_rows
        draft.rows_read += len(rows)
        draft.unknown |= decoded.unknown_fields
        draft.rejects += [
            RawReject(result.read.scope, page, reject, bytes(rows[reject.index]).decode(errors="replace"))
            for reject in decoded.rejects
        ]

    def _own(
        self, draft: _Draft, result: Extracted, page: PageRef, rows: Sequence[msgspec.Raw], table: pa.Table
    ) -> pa.Table:
        """The rows about the vehicles asked about; the others are set aside."""
        column = self._contract.scope_column
        if column is None or result.read.all_scopes == (FLEET,):
            return table
        names = pc.cast(table[column], pa.string())
        is_own = pc.or_kleene(pc.is_in(names, pa.array(result.read.all_scopes, pa.string())), pc.is_null(names))
        if pc.all(is_own).as_py() is not False:
            return table
        self._foreign.add(page.key.folder)
        foreign = table.filter(pc.invert(is_own)).select(["raw_row", column]).to_pylist()
        draft.rejects += [
            RawReject(
                result.read.scope,
                page,
                Reject(row["raw_row"], column, f"it is about {row[column]!r}, which was not asked for"),
                bytes(rows[row["raw_row"]]).decode(errors="replace"),
            )
            for row in foreign
        ]
        return table.filter(is_own)


class _Came:
    """Counts the rows of a read, those that come twice once."""

    def __init__(self, contract: Contract) -> None:
        self._key = list(contract.key)
        self._keys: list[pa.Table] = []
        self._unreadable: set[bytes] = set()

    def add(self, table: pa.Table, unreadable: Iterable[bytes]) -> None:
        self._keys.append(table.select(self._key))
        self._unreadable.update(unreadable)

    @property
    def rows(self) -> int:
        keys = pa.concat_tables(self._keys).group_by(self._key).aggregate([])
        return int(keys.num_rows) + len(self._unreadable)


class _Draft:
    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.tables: list[pa.Table] = []
        self.parts: list[Part] = []
        self.pages: list[PageRef] = []
        self.rejects: list[RawReject] = []
        self.batched: dict[str, bool] = {}
        self.rows = self.rows_read = self.outside = 0
        self.unknown: frozenset[str] = frozenset()

    def take(self, part: Part) -> None:
        """Note a read whose pages were added; of a read that did not begin to end here nothing is noted."""
        if part.ends or part.pages:
            self.parts.append(part)

    def finish(self) -> Batch:
        reads = [part.result for part in self.parts if part.ends]
        whole = [part.result for part in self.parts if part.is_whole]
        may_replace = self.contract.kind is not Kind.REVISION and self.contract.merge == "replace"
        load_id = load_id_of(self.contract, self.pages, reads)
        schema = nullable_schema(self.contract)
        table = _named(pa.concat_tables(self.tables) if self.tables else schema.empty_table(), load_id)
        return Batch(
            contract=self.contract,
            load_id=load_id,
            table=last_of_each_key(table, self.contract),
            reads=reads,
            pages=self.pages,
            whole=[
                item for item in whole if may_replace and item.is_complete and item.may_delete and not item.read.is_again
            ],
            rejects=self.rejects,
            rows_read=self.rows_read,
            outside=self.outside,
            unknown_fields=self.unknown,
            parts=self.parts,
        )


def _join(batch: Batch, again: Batch) -> Batch:
    """A batch with the rows of second readings; what is said of its own reads stays as it is."""
    contract = batch.contract
    pages, reads = [*batch.pages, *again.pages], [*batch.reads, *again.reads]
    load_id = load_id_of(contract, pages, reads)
    return replace(
        batch,
        load_id=load_id,
        table=_named(last_of_each_key(pa.concat_tables([batch.table, again.table]), contract), load_id),
        reads=reads,
        pages=pages,
        rejects=[*batch.rejects, *again.rejects],
        rows_read=batch.rows_read + again.rows_read,
        outside=batch.outside + again.outside,
        unknown_fields=batch.unknown_fields | again.unknown_fields,
        foreign=batch.foreign | again.foreign,
        rows_of={**again.rows_of, **batch.rows_of},
        parts=[*batch.parts, *again.parts],
    )


def _named(table: pa.Table, load_id: str) -> pa.Table:
    """The table with its load's id in every row."""
    position = table.schema.get_field_index("load_id")
    return table.set_column(position, table.schema.field(position), pa.repeat(pa.scalar(load_id), table.num_rows))


def asked(page: PageRef) -> Asked:
    """What a page was asked for, as a vendor's ``split`` wants to know it."""
    return Asked(page.key.account, page.key.scope, page.key.window)


def load_id_of(contract: Contract, pages: Sequence[PageRef], reads: Sequence[Extracted] = ()) -> str:
    """Name of a batch: a digest of what it is made of, so that publishing it again is seen to be the same.

    A batch without pages, of reads that failed at once, is named after its reads.
    """
    made_of = sorted(f"{page.path}:{page.sha256}" for page in pages) or sorted(item.read.key.folder for item in reads)
    parts = [contract.table, contract.version, *made_of]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def nullable_schema(contract: Contract) -> pa.Schema:
    """The contract's Arrow schema with every field nullable: nulls are judged by the audit."""
    return pa.schema([field.with_nullable(True) for field in contract.arrow_schema])


def with_provenance(contract: Contract, table: pa.Table, indices: Sequence[int], page: PageRef) -> pa.Table:
    """Add account and provenance columns; ``load_id`` is set when the batch is complete."""
    size = table.num_rows
    constants = {"account": page.key.account, "fetched_at": page.fetched_at, "raw_page": page.path}
    columns = []
    schema = nullable_schema(contract)
    for item in schema:
        if item.name in constants:
            columns.append(pa.repeat(pa.scalar(constants[item.name], item.type), size))
        elif item.name == "raw_row":
            columns.append(pa.array(indices, item.type))
        elif item.name in ("load_id", "deleted_at"):
            columns.append(pa.nulls(size, item.type))
        else:
            columns.append(table[item.name])
    return pa.table(columns, schema=schema)


def last_of_each_key(table: pa.Table, contract: Contract) -> pa.Table:
    """Drop rows whose key comes again later: vendors repeat rows at page borders and after retries."""
    # Arrow types keep large integers exact beside nulls; pandas' own would make them floats.
    keys = table.select(list(contract.key)).to_pandas(types_mapper=pd.ArrowDtype)
    # Rows without a key are not duplicates of each other: each is shown to the audit.
    repeated = (keys.duplicated(keep="last") & keys.notna().all(axis=1)).to_numpy(dtype=bool)
    return table.filter(pa.array(~repeated)) if repeated.any() else table
