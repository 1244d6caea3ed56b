"""Publish batches into Delta tables and read them.

A table is partitioned by ``day``, the UTC date of the contract's time column (contracts without one are not partitioned).
Publishing reads the rows it may touch, works out the result in memory and commits it as one version of the table: an
append when all rows are new, else a replacement of the days concerned. (Delta's own MERGE takes over ten times as long on
300,000 telemetry rows, and its parser gives up on a comparison of 48 columns.) A result worked out from version *n* is only
ever committed as version *n + 1*, so two writers cannot both have their way: the slower one begins again from what the
faster one wrote.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pa_dataset
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, DeltaProtocolError, SchemaMismatchError, TableNotFoundError
from pyarrow.parquet import ParquetFile

from fleetlake.changes import Change, Deletion, conform
from fleetlake.contracts import Contract
from fleetlake.errors import ContractError, DataError, FleetlakeError, StoreConflict, StoreUnavailable
from fleetlake.lake.merging import matches, merge, needed
from fleetlake.lake.objects import remedy, storage_options, words
from fleetlake.lake.shapes import shaped, values, within
from fleetlake.window import Window

DAY_COLUMN = "day"
ATTEMPTS = 10

_SCAN_ROWS = 32_768
_WRITER = WriterProperties(compression="ZSTD", compression_level=1)
_Expression = Any


class Lake:
    """Delta tables at ``<url>/<vendor>/<dataset>``.

    Args:
        url: local folder or object-store URL (``s3://bucket/lake``).
        options: options of the object store; ``None`` = those of ``lake.objects``, with the usual ``AWS_…`` variables.
    """

    def __init__(self, url: str, options: Mapping[str, str] | None = None) -> None:
        self.url = (url if "://" in url else str(Path(url).expanduser().absolute())).rstrip("/")
        self._options = storage_options(self.url) if options is None else dict(options)

    def uri(self, contract: Contract) -> str:
        """Where the dataset's table is."""
        return f"{self.url}/{contract.vendor}/{contract.name}"

    # --- writing ----------------------------------------------------------------------------------------------------

    def publish(self, contract: Contract, batch: pa.Table, load_id: str, deletions: Sequence[Deletion] = ()) -> Change:
        """Publish a batch, under the rules of ``fleetlake.changes``, as one commit; nothing is committed without a change.

        Args:
            contract: the dataset; its table is created or extended as needed.
            batch: columns as ``Contract.all_columns``.
            load_id: becomes ``load_id`` of the rows and of the commit.
            deletions: what complete answers no longer hold.

        Raises:
            ContractError: the table exists with a column of another type.
            DataError: the batch does not fit the contract.
            StoreConflict: other writers were faster again and again.
            StoreUnavailable: the storage fails.
        """
        rows = conform(contract, batch, load_id)
        with self._reported(contract):
            for attempt in range(ATTEMPTS):
                table = self._open(contract)
                try:
                    return self._publish_once(contract, table, rows, load_id, deletions)
                except CommitFailedError:
                    # Another version came first: begin again from it, at a moment of our own.
                    time.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))  # noqa: S311
        raise StoreConflict("other writers were faster again and again", where=self.uri(contract), remedy="publish again")

    def optimise(self, contract: Contract, keep: dt.timedelta = dt.timedelta(days=7)) -> None:
        """Join small files and delete files that no version younger than ``keep`` uses.

        Raises:
            StoreConflict: a writer was faster; try again.
        """
        with self._reported(contract):
            table = self._open(contract)
            try:
                table.optimize.compact(writer_properties=_WRITER)
                table.vacuum(
                    retention_hours=int(keep.total_seconds() // 3600), dry_run=False, enforce_retention_duration=False
                )
                table.cleanup_metadata()
            except CommitFailedError as error:
                raise StoreConflict(f"a writer was faster: {error}", where=self.uri(contract)) from None

    # --- reading ----------------------------------------------------------------------------------------------------

    def version(self, contract: Contract) -> int | None:
        """Number of the table's newest version; ``None`` when there is no table."""
        with self._reported(contract):
            try:
                return int(DeltaTable(self.uri(contract), storage_options=self._options).version())
            except TableNotFoundError:
                return None

    def scan(
        self, contract: Contract, window: Window | None = None, account: str | None = None, version: int | None = None
    ) -> pa.RecordBatchReader:
        """Rows as record batches with the columns of ``Contract.all_columns``; rows marked deleted are among them.

        Args:
            contract: the dataset.
            window: only rows whose time column lies in it; ignored for tables without one.
            account: only this account's.
            version: the table as it was at this version; ``None`` = the newest.
        """
        schema = _nullable(contract)
        with self._reported(contract):
            try:
                dataset = self._dataset(DeltaTable(self.uri(contract), version, storage_options=self._options))
            except TableNotFoundError:
                return pa.RecordBatchReader.from_batches(schema, [])
            condition: _Expression = pc.scalar(True)
            if account is not None:
                condition &= pc.field("account") == account
            files = condition
            if window is not None and contract.time_column:
                condition &= within(contract, window)
                files = condition & _on_days(window)
            is_limited = account is not None or window is not None
            known = [name for name in schema.names if name in dataset.schema.names]
            return pa.RecordBatchReader.from_batches(
                schema, self._stream(contract, dataset, known, files, condition if is_limited else None)
            )

    def rows(self, contract: Contract, window: Window | None = None, account: str | None = None) -> Iterator[dict[str, Any]]:
        """Rows as dicts, JSON columns decoded, streamed; see ``scan``."""
        json_columns = {column.name for column in contract.all_columns if column.type == "jsonb"}
        for batch in self.scan(contract, window, account):
            names = batch.schema.names
            columns = [values(batch.column(name), is_json=name in json_columns) for name in names]
            for row in zip(*columns, strict=True):
                yield dict(zip(names, row, strict=True))

    def last_load_id(self, contract: Contract) -> str | None:
        """Load of the last commit that a load made; ``None`` when there is none."""
        with self._reported(contract):
            try:
                table = DeltaTable(self.uri(contract), storage_options=self._options)
            except TableNotFoundError:
                return None
            for limit in (20, None):
                for entry in table.history(limit):
                    if "load_id" in entry:
                        return str(entry["load_id"])
        return None

    # --- inside -----------------------------------------------------------------------------------------------------

    def _publish_once(
        self, contract: Contract, table: DeltaTable, batch: pa.Table, load_id: str, deletions: Sequence[Deletion]
    ) -> Change:
        dataset = self._dataset(table)
        days = self._days_to_read(contract, dataset, batch, deletions)
        if days is None:  # nothing that is there is concerned
            change = Change(inserted=batch.num_rows)
            if batch.num_rows:
                self._commit(contract, table, batch, load_id, mode="append")
            return change
        existing = self._read(contract, dataset, days)
        merged = merge(contract, existing, batch, load_id, deletions)
        if not merged.changed.num_rows:
            if merged.inserted.num_rows:
                self._commit(contract, table, merged.inserted, load_id, mode="append")
            return merged.change
        if not contract.time_column:
            rows = pa.concat_tables([merged.kept, merged.changed, merged.inserted])
            self._commit(contract, table, rows, load_id, mode="overwrite")
            return merged.change
        rewritten = pa.concat_tables([merged.changed, merged.replaced, merged.inserted])
        touched = pc.unique(_days(contract, rewritten))
        kept = merged.kept.filter(pc.is_in(_days(contract, merged.kept), touched))
        rows = pa.concat_tables([kept, merged.changed, merged.inserted])
        listed = ", ".join(f"'{day.isoformat()}'" for day in sorted(touched.to_pylist()))
        self._commit(contract, table, rows, load_id, mode="overwrite", predicate=f"{DAY_COLUMN} IN ({listed})")
        return merged.change

    def _days_to_read(
        self, contract: Contract, dataset: pa_dataset.Dataset, batch: pa.Table, deletions: Sequence[Deletion]
    ) -> list[dt.date] | None:
        """Partitions with rows that the batch may concern: ``None`` = there are none, empty = the table has no partitions.

        Rows with the batch's keys may lie in other days than the batch says now. They are looked up by key; files whose
        statistics exclude the batch's keys are not opened.
        """
        keys = list(contract.key)
        days: set[dt.date] = set()
        found = False
        if batch.num_rows:
            condition: _Expression = pc.scalar(True)
            for name in keys:
                low_high = pc.min_max(batch[name])
                condition &= (pc.field(name) >= low_high["min"]) & (pc.field(name) <= low_high["max"])
            columns = [*keys, DAY_COLUMN] if contract.time_column else keys
            there = dataset.to_table(columns=columns, filter=condition)
            at_old, _ = matches(keys, there, batch)
            found = len(at_old) > 0
            if found and contract.time_column:
                days |= set(pc.unique(there[DAY_COLUMN].take(at_old)).to_pylist())
                days |= set(pc.unique(_days(contract, batch)).to_pylist())
        for deletion in deletions:
            condition = pc.field("account") == deletion.account
            if deletion.window is not None:
                needed(contract.time_column, "timeColumn", contract)
                condition &= within(contract, deletion.window) & _on_days(deletion.window)
            if contract.time_column:
                fallen = set(pc.unique(dataset.to_table([DAY_COLUMN], filter=condition)[DAY_COLUMN]).to_pylist())
                days |= fallen
                found |= bool(fallen)
            else:
                found |= dataset.count_rows(filter=condition) > 0
        if found and contract.time_column and batch.num_rows:
            days |= set(pc.unique(_days(contract, batch)).to_pylist())
        return sorted(days) if found else None

    def _stream(
        self,
        contract: Contract,
        dataset: pa_dataset.Dataset,
        columns: list[str],
        files: _Expression,
        rows: _Expression | None,
    ) -> Iterator[pa.RecordBatch]:
        """Rows of a dataset file by file: Arrow's own scanner reads up to a gigabyte ahead of a slow reader."""
        schema = _nullable(contract)
        with self._reported(contract):
            for fragment in dataset.get_fragments(filter=files):
                with fragment.open() as source:
                    for batch in ParquetFile(source).iter_batches(batch_size=_SCAN_ROWS, columns=columns):
                        whole = shaped(batch, schema)  # first: other writers leave string types that cannot be filtered
                        yield whole if rows is None else whole.filter(rows)

    def _read(self, contract: Contract, dataset: pa_dataset.Dataset, days: list[dt.date]) -> pa.Table:
        schema = _nullable(contract)
        condition = pc.field(DAY_COLUMN).isin(days) if days else None
        known = [name for name in schema.names if name in dataset.schema.names]
        batches = dataset.scanner(columns=known, filter=condition).to_batches()
        return pa.Table.from_batches([shaped(batch, schema) for batch in batches], schema).combine_chunks()

    def _commit(
        self,
        contract: Contract,
        table: DeltaTable,
        rows: pa.Table,
        load_id: str,
        *,
        mode: Any,
        predicate: str | None = None,
    ) -> None:
        if contract.time_column:
            rows = rows.append_column(DAY_COLUMN, _days(contract, rows))
        write_deltalake(
            table,
            rows,
            mode=mode,
            predicate=predicate,
            writer_properties=_WRITER,
            commit_properties=CommitProperties(custom_metadata={"load_id": load_id}, max_commit_retries=0),
        )
        self._sync(table)

    def _sync(self, table: DeltaTable) -> None:
        """On a local disk: bring the new version to disk before the warehouse says that it is published."""
        if "://" in self.url:
            return
        root = Path(unquote(table.table_uri.removeprefix("file://")))
        entry = root / "_delta_log" / f"{table.version():020d}.json"
        added = (json.loads(line).get("add") for line in entry.read_text().splitlines())
        files = [root / action["path"] for action in added if action]
        for path in {*files, *(file.parent for file in files), entry, entry.parent, root}:
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _open(self, contract: Contract) -> DeltaTable:
        """The table, created or extended to what the contract says."""
        uri = self.uri(contract)
        try:
            table = DeltaTable(uri, storage_options=self._options)
        except TableNotFoundError:
            return self._create(contract)
        known = pa.schema(table.schema().to_arrow())
        missing = [field for field in contract.arrow_schema if field.name not in known.names]
        for field in contract.arrow_schema:
            if field.name in known.names and known.field(field.name).type != field.type:
                raise ContractError(
                    f"column {contract.table}.{field.name} is {known.field(field.name).type} in the lake and {field.type} in"
                    " the contract",
                    where=str(contract.path or contract.table),
                    remedy="give the column a new name, or drop the table and load its days again: see"
                    " `A contract's type or key has changed` in docs/runbook.md",
                )
        if missing:
            from deltalake import Schema

            # Rows that are there have no value: the new column is nullable.
            fields = Schema.from_arrow(pa.schema([field.with_nullable(True) for field in missing])).fields
            table.alter.add_columns(fields)
            table = DeltaTable(uri, storage_options=self._options)
        return table

    def _create(self, contract: Contract) -> DeltaTable:
        schema = contract.arrow_schema
        if contract.time_column:
            if not contract.column(contract.time_column).required:
                raise ContractError(
                    f"the timeColumn {contract.time_column!r} is not required",
                    where=str(contract.path or contract.table),
                    remedy="write `required: true`: a row without a time has no day",
                )
            schema = schema.append(pa.field(DAY_COLUMN, pa.date32(), nullable=False, metadata={"description": "UTC date."}))
        with contextlib.suppress(DeltaError):  # another process created it in this moment
            DeltaTable.create(
                self.uri(contract),
                schema=schema,
                partition_by=[DAY_COLUMN] if contract.time_column else None,
                name=contract.table,
                description=contract.description,
                storage_options=self._options,
            )
        return DeltaTable(self.uri(contract), storage_options=self._options)

    def _shaped(self, contract: Contract, scanner: pa_dataset.Scanner, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self._reported(contract):  # files are opened while the batches are read
            for batch in scanner.to_batches():
                yield shaped(batch, schema)

    @staticmethod
    def _dataset(table: DeltaTable) -> pa_dataset.Dataset:
        return table.to_pyarrow_dataset()

    @contextlib.contextmanager
    def _reported(self, contract: Contract) -> Iterator[None]:
        try:
            yield
        except (FleetlakeError, CommitFailedError):
            raise
        except (SchemaMismatchError, DeltaProtocolError, pa.ArrowInvalid) as error:
            raise DataError(f"the lake cannot take the batch: {error}", where=self.uri(contract)) from error
        except (DeltaError, OSError) as error:
            # Without the cause: it repeats a store's whole answer, credentials included.
            raise StoreUnavailable(
                f"the lake fails: {words(error)}", where=self.uri(contract), remedy=remedy(error)
            ) from None


def _nullable(contract: Contract) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in contract.arrow_schema])


def _days(contract: Contract, rows: pa.Table) -> pa.ChunkedArray:
    return rows[contract.time_column].cast(pa.date32())


def _on_days(window: Window) -> _Expression:
    last = (window.end - dt.timedelta(microseconds=1)).date()
    return (pc.field(DAY_COLUMN) >= window.start.date()) & (pc.field(DAY_COLUMN) <= last)
