"""The verdict on a batch: which rows are published, which are set aside and why, or whether the batch is held.

Great Expectations judges; this module reads its judgement by severity alone:

``warning``   the rows stay; the result says how many
``error``     the failing rows are set aside; where no row is to blame (freshness, row count) the batch is held
``critical``  the batch is held

A check that could not be evaluated counts as failed and holds the batch: nothing is published on trust.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import Column, Contract
from fleetlake.errors import ConfigError
from fleetlake.quality import engine
from fleetlake.quality.docs import store_result
from fleetlake.quality.frame import to_frame
from fleetlake.quality.suite import BATCH_CHECKS, NEWEST, build_suite, identity, limit_text, severity_of, unknown_parameter
from fleetlake.window import Window

if TYPE_CHECKING:
    import pyarrow as pa
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

SLICE_ROWS = 50_000
"""Rows that are turned into a pandas frame at once: bounds the memory of an audit."""

SHOWN = 20
"""Rows shown in Data Docs."""


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """One reason to set a row aside; a row with two faults appears twice.

    Attributes:
        row_index: position in the batch, from 0.
        check: name of the check, see ``fleetlake.quality.suite``.
        column: column at fault, ``None`` when it is not one column.
        reason: a sentence with the value.
        severity: ``error`` or ``critical``.
    """

    row_index: int
    check: str
    column: str | None
    reason: str
    severity: str


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What one check found in the batch.

    Attributes:
        check, column, severity: which check.
        success: Great Expectations' judgement; for ``max_rejected_pct`` ours.
        evaluated: values looked at; nulls are looked at by ``required`` only.
        unexpected: values that fail.
        unexpected_pct: of ``evaluated``, 0 to 100.
        observed: what was seen, for checks that look at the batch as a whole, or why the check could not be evaluated.
        limit: what is allowed.
    """

    check: str
    column: str | None
    severity: str
    success: bool
    evaluated: int
    unexpected: int
    unexpected_pct: float
    observed: str | None
    limit: str | None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The verdict on a batch.

    Attributes:
        good: rows without an error, in order; publish them unless the batch is held.
        rejected: why rows are set aside, in row order.
        results: one per check.
        held: publish nothing of this batch, and delete nothing because of it.
        reason: why it is held, empty otherwise.
    """

    good: pa.Table
    rejected: list[Rejected]
    results: list[CheckResult]
    held: bool
    reason: str


@dataclass
class _Outcome:
    """One expectation's results, summed over slices."""

    check: str
    column: str | None
    severity: str
    success: bool = True
    evaluated: int = 0
    unexpected: int = 0
    observed: str | None = None
    broken: str | None = None
    rows: list[int] = field(default_factory=list)
    shown: ExpectationValidationResult | None = None

    def add(self, result: ExpectationValidationResult) -> None:
        """Add the result of a slice; keep the first failing one for Data Docs."""
        values = result.result or {}
        self.evaluated += values.get("element_count", 0) - values.get("missing_count", 0)
        self.unexpected += values.get("unexpected_count", 0)
        self.rows += values.get("unexpected_index_list") or ()
        if self.observed is None and values.get("observed_value") is not None:
            self.observed = str(values["observed_value"])
        if not result.success and not values:
            self.broken = _exception(result.exception_info)
        if self.shown is None or (self.success and not result.success):
            self.shown = result
        self.success = self.success and bool(result.success)


def audit(
    contract: Contract,
    batch: pa.Table,
    *,
    window: Window | None,
    known_values: Mapping[str, Set[Any]],
    load_id: str,
    docs_dir: Path | None,
    account: str | None = None,
) -> Verdict:
    """Judge a batch by its contract.

    Args:
        contract: the dataset's contract.
        batch: rows in the contract's types; further columns (account, provenance) are carried along unchecked.
        window: window of event time that the batch is about; ``None`` for snapshots.
        known_values: for each column of the contract with a reference, the values that exist in the other table; values
            that do not occur in the batch may be left out.
        load_id: id of the batch, shown in Data Docs.
        docs_dir: where the result is stored for Data Docs; ``None`` = not stored.
        account: account of the batch; default: from its ``account`` column.

    Raises:
        ContractError: the contract's checks contradict its types.
        ConfigError: known values of a reference are missing.
    """
    outcomes = _judge(contract, batch, _parameters(contract, batch, window, known_values))
    rejected = sorted(_rejected(contract, batch, outcomes), key=lambda item: item.row_index)
    bad_rows = sorted({item.row_index for item in rejected})
    results = [_check_result(contract, outcome) for outcome in outcomes]
    results += _share_results(contract, batch.num_rows, len(bad_rows))
    reasons = [_hold_reason(result, outcome) for result, outcome in _failed(results, outcomes)]
    verdict = Verdict(
        good=_without(batch, bad_rows),
        rejected=rejected,
        results=results,
        held=bool(reasons),
        reason="; ".join(reasons),
    )
    if docs_dir is not None:
        store_result(
            docs_dir,
            dataset=contract.table,
            account=account or _first(batch, "account") or "no account",
            window=window,
            load_id=load_id,
            description=contract.description,
            rows=batch.num_rows,
            rejected_rows=len(bad_rows),
            reasons=[(item.row_index, item.reason) for item in rejected[:SHOWN]],
            held=verdict.reason,
            warnings=sum(not result.success and result.severity == "warning" for result in results),
            results=[(outcome.shown, outcome.evaluated, outcome.unexpected) for outcome in outcomes if outcome.shown],
        )
    return verdict


def _judge(contract: Contract, batch: pa.Table, parameters: Mapping[str, Any]) -> list[_Outcome]:
    expectations = [
        item for item in build_suite(contract).expectations if identity(item)[0] != "freshness" or NEWEST in parameters
    ]
    outcomes = {identity(item): _Outcome(*identity(item), severity_of(item)) for item in expectations}
    for part, columns, rows, first_row in _frames(contract, batch, expectations):
        frame = to_frame(rows, columns, first_row)
        for expectation, result in engine.validate(contract.table, part, frame, parameters):
            outcomes[identity(expectation)].add(result)
    return list(outcomes.values())


def _frames(
    contract: Contract, batch: pa.Table, expectations: list[Expectation]
) -> Iterator[tuple[list[Expectation], list[str], pa.Table, int]]:
    """What to judge on which columns and rows: no more of them than needed.

    Of a large batch the few columns that batch checks need are judged whole, the others slice by slice.
    """
    types = [item for item in expectations if identity(item)[0] == "type"]
    whole = [item for item in expectations if identity(item)[0] in BATCH_CHECKS]
    single = [item for item in expectations if identity(item)[0] not in ("type", *BATCH_CHECKS)]
    yield types, [column.name for column in contract.columns], batch.slice(0, 0), 0
    keys = [column.name for column in contract.columns if column.is_key or column.name == contract.time_column]
    subjects = {identity(item)[1] for item in single}
    checked = [column.name for column in contract.columns if column.name in subjects]
    if batch.num_rows <= SLICE_ROWS:
        yield whole + single, sorted({*keys, *checked}), batch, 0
        return
    yield whole, keys, batch, 0
    for first in range(0, batch.num_rows, SLICE_ROWS):
        yield single, checked, batch.slice(first, SLICE_ROWS), first


def _parameters(
    contract: Contract, batch: pa.Table, window: Window | None, known_values: Mapping[str, Set[Any]]
) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for column in contract.columns:
        if column.references is None:
            continue
        if column.name not in known_values:
            raise ConfigError(
                f"no known values for {column.name}, which refers to {column.references}",
                where=f"audit of {contract.table}",
                remedy="give the set of existing values, empty if there are none",
            )
        if column.name in batch.column_names:
            values = set(batch.column(column.name).unique().to_pylist())
            parameters[unknown_parameter(column.name)] = sorted(values - known_values[column.name] - {None})
    limit = next((check.limit for check in contract.checks if check.name == "freshness"), None)
    ends = [end for end in (window.end if window else None, _newest(batch, "fetched_at")) if end is not None]
    if limit is not None and ends and contract.time_column and _newest(batch, contract.time_column) is not None:
        # Nothing can be newer than the moment of reading: a window that lies ahead of it is not stale.
        parameters[NEWEST] = min(ends) - dt.timedelta(seconds=limit)
    return parameters


def _rejected(contract: Contract, batch: pa.Table, outcomes: list[_Outcome]) -> Iterator[Rejected]:
    at_fault: set[int] = set()
    # Duplicates come last: of rows with one key the last one that is good in itself is kept.
    for outcome in sorted(outcomes, key=lambda item: item.check == "primary_key"):
        if outcome.severity == "warning":
            continue
        rows = outcome.rows
        if outcome.check == "primary_key":
            rows = _surplus(contract, batch, rows, at_fault)
        for row in rows:
            column = _first_not_finite(batch, row) if outcome.check == "finite" else outcome.column
            reason = _reason(contract, batch, row, outcome.check, column)
            yield Rejected(row_index=row, check=outcome.check, column=column, reason=reason, severity=outcome.severity)
        at_fault.update(rows)


def _surplus(contract: Contract, batch: pa.Table, rows: list[int], at_fault: set[int]) -> list[int]:
    """Of rows that share a key, all but one: the last good one, because later answers are newer."""
    import pyarrow as pa

    names = [column.name for column in contract.columns if column.is_key]
    keys = batch.select(names).take(pa.array(rows, pa.int64())).to_pylist()
    kept: dict[tuple[Any, ...], int] = {}
    for row, key in zip(rows, keys, strict=True):
        if row not in at_fault:
            kept[tuple(key.values())] = row
    keep = set(kept.values())
    return [row for row in rows if row not in keep and row not in at_fault]


def _reason(contract: Contract, batch: pa.Table, row: int, check: str, name: str | None) -> str:
    if check == "primary_key":
        keys = [column.name for column in contract.columns if column.is_key]
        return f"{', '.join(f'{key} {_value(batch, key, row)}' for key in keys)}: a later row has the same key"
    if name is None:
        return f"check {check} failed"
    value = _value(batch, name, row)
    if check == "required" and batch.column(name)[row].as_py() is None:
        return f"{name} is missing"
    if check in ("finite", "required"):
        return f"{name} is {value}, not a number"
    column = contract.column(name)
    unit = f" {column.unit}" if column.unit else ""
    allowed = limit_text(column, check)
    if check == "references":
        return f"{name} {value} does not exist in {allowed}"
    if check == "pattern":
        return f"{name} is {value}, which does not match {allowed}"
    return f"{name} is {value}{unit}; allowed: {allowed}"


def _value(batch: pa.Table, name: str, row: int) -> str:
    value = batch.column(name)[row].as_py()
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return repr(value if len(value) <= 120 else value[:120] + "…")
    return str(value)


def _first_not_finite(batch: pa.Table, row: int) -> str | None:
    for item in batch.schema:
        value = batch.column(item.name)[row].as_py()
        if isinstance(value, float) and not math.isfinite(value):
            return str(item.name)
    return None


def _check_result(contract: Contract, outcome: _Outcome) -> CheckResult:
    column: Column | None = contract.column(outcome.column) if outcome.column else None
    limits = {check.name: f"{check.limit:g}" for check in contract.checks}
    limit = limits.get(outcome.check) or (limit_text(column, outcome.check) if column else None)
    return CheckResult(
        check=outcome.check,
        column=outcome.column,
        severity=outcome.severity,
        success=outcome.success,
        evaluated=outcome.evaluated,
        unexpected=outcome.unexpected,
        unexpected_pct=_pct(outcome.unexpected, outcome.evaluated),
        observed=outcome.broken or outcome.observed,
        limit=limit,
    )


def _share_results(contract: Contract, rows: int, bad: int) -> list[CheckResult]:
    return [
        CheckResult(
            check=check.name,
            column=None,
            severity=check.severity,
            success=_pct(bad, rows) <= check.limit,
            evaluated=rows,
            unexpected=bad,
            unexpected_pct=_pct(bad, rows),
            observed=f"{_pct(bad, rows):g}",
            limit=f"{check.limit:g}",
        )
        for check in contract.checks
        if check.name == "max_rejected_pct"
    ]


def _failed(results: list[CheckResult], outcomes: list[_Outcome]) -> Iterator[tuple[CheckResult, _Outcome | None]]:
    """Results that hold the batch."""
    for position, result in enumerate(results):
        outcome = outcomes[position] if position < len(outcomes) else None
        rows_to_blame = outcome is not None and outcome.rows
        broken = outcome is not None and outcome.broken
        if not result.success and (
            broken or result.severity == "critical" or (result.severity == "error" and not rows_to_blame)
        ):
            yield result, outcome


def _hold_reason(result: CheckResult, outcome: _Outcome | None) -> str:
    name = f"{result.column} {result.check}" if result.column else result.check
    if outcome is not None and outcome.broken:
        return f"{name} could not be checked: {outcome.broken}"
    if result.check == "max_rejected_pct":
        return f"{result.unexpected} of {result.evaluated} rows rejected, more than {result.limit} % ({result.severity})"
    if outcome is not None and outcome.rows:
        return f"{name}: {result.unexpected} of {result.evaluated} values fail ({result.severity})"
    limit = f", limit {result.limit}" if result.limit else ""
    return f"{name}: {result.observed}{limit} ({result.severity})"


def _exception(info: Any) -> str:
    """The message of the first exception in a result's ``exception_info``, which has two shapes."""
    if isinstance(info, Mapping):
        if info.get("exception_message"):
            return str(info["exception_message"])
        for item in info.values():
            if isinstance(item, Mapping) and item.get("exception_message"):
                return str(item["exception_message"])
    return "unknown error"


def _without(batch: pa.Table, rows: list[int]) -> pa.Table:
    import numpy as np

    if not rows:
        return batch
    keep = np.ones(batch.num_rows, dtype=bool)
    keep[rows] = False
    return batch.filter(keep)


def _newest(batch: pa.Table, name: str) -> dt.datetime | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in batch.column_names or not pa.types.is_timestamp(batch.column(name).type):
        return None
    newest: dt.datetime | None = pc.max(batch.column(name)).as_py()
    return newest if newest is not None and newest.tzinfo is not None else None


def _first(batch: pa.Table, name: str) -> str | None:
    if name not in batch.column_names or not batch.num_rows:
        return None
    return str(batch.column(name)[0].as_py())


def _pct(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
