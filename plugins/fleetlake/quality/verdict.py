"""The verdict on a batch: which rows are published, which are set aside and why, or whether the batch is held.

Great Expectations judges; this module reads its judgement by severity alone:

``warning``   the rows stay; the result says how many
``error``     the failing rows are set aside; where no row is to blame (freshness, row count) the batch is held
``critical``  the batch is held

A check that could not be evaluated counts as failed and holds the batch: nothing is published on trust.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import Column, Contract
from fleetlake.quality.docs import store_result
from fleetlake.quality.judge import Outcome, in_words, judge
from fleetlake.quality.suite import limit_text
from fleetlake.window import Window

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 20
"""Rows shown in Data Docs."""

LONGEST = 120
"""Characters of a text value that a reason repeats."""


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
        evaluated: values looked at; nulls are looked at by ``required`` and ``references`` only. Checks of the whole batch:
            its rows.
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
        StoreUnavailable: ``docs_dir`` cannot be written.
    """
    outcomes = judge(contract, batch, window, known_values)
    rejected = sorted(_rejected(contract, batch, outcomes), key=lambda item: item.row_index)
    bad_rows = sorted({item.row_index for item in rejected})
    results = [_check_result(contract, outcome, batch.num_rows) for outcome in outcomes]
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


def _rejected(contract: Contract, batch: pa.Table, outcomes: list[Outcome]) -> Iterator[Rejected]:
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
        return f"{check} does not hold"
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
    if isinstance(value, str):
        return repr(value if len(value) <= LONGEST else value[:LONGEST] + "…")
    return in_words(value)


def _first_not_finite(batch: pa.Table, row: int) -> str | None:
    for item in batch.schema:
        value = batch.column(item.name)[row].as_py()
        if isinstance(value, float) and not math.isfinite(value):
            return str(item.name)
    return None


def _check_result(contract: Contract, outcome: Outcome, rows: int) -> CheckResult:
    column: Column | None = contract.column(outcome.column) if outcome.column else None
    limits = {check.title: f"{check.limit:g}" for check in contract.checks}
    limit = limits.get(outcome.check) or (limit_text(column, outcome.check) if column else None)
    return CheckResult(
        check=outcome.check,
        column=outcome.column,
        severity=outcome.severity,
        success=outcome.success,
        evaluated=rows if outcome.check in ("type", "freshness", "row_count_min") else outcome.evaluated,
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


def _failed(results: list[CheckResult], outcomes: list[Outcome]) -> Iterator[tuple[CheckResult, Outcome | None]]:
    """Results that hold the batch."""
    for position, result in enumerate(results):
        outcome = outcomes[position] if position < len(outcomes) else None
        rows_to_blame = outcome is not None and outcome.rows
        broken = outcome is not None and outcome.broken
        if not result.success and (
            broken or result.severity == "critical" or (result.severity == "error" and not rows_to_blame)
        ):
            yield result, outcome


def _hold_reason(result: CheckResult, outcome: Outcome | None) -> str:
    name = f"{result.column} {result.check}" if result.column else result.check
    if outcome is not None and outcome.broken:
        return f"{name} could not be checked: {outcome.broken}"
    if result.check == "max_rejected_pct":
        return f"{result.unexpected} of {result.evaluated} rows rejected, more than {result.limit} % ({result.severity})"
    if outcome is not None and outcome.rows:
        return f"{name}: {result.unexpected} of {result.evaluated} values fail ({result.severity})"
    limit = f", limit {result.limit}" if result.limit else ""
    return f"{name}: {result.observed}{limit} ({result.severity})"


def _without(batch: pa.Table, rows: list[int]) -> pa.Table:
    import numpy as np

    if not rows:
        return batch
    keep = np.ones(batch.num_rows, dtype=bool)
    keep[rows] = False
    return batch.filter(keep)


def _first(batch: pa.Table, name: str) -> str | None:
    if name not in batch.column_names or not batch.num_rows:
        return None
    return str(batch.column(name)[0].as_py())


def _pct(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
