"""Great Expectations' judgement of a batch, check by check."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import Contract
from fleetlake.errors import ConfigError
from fleetlake.quality import engine
from fleetlake.quality.frame import NOT_FINITE, off, to_frame, unknown, with_findings
from fleetlake.quality.suite import BATCH_CHECKS, NEWEST, build_suite, identity, severity_of
from fleetlake.window import Window

if TYPE_CHECKING:
    import pyarrow as pa
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations.expectation import Expectation

SLICE_ROWS = 50_000
"""Rows that are turned into a pandas frame at once: bounds the memory of an audit."""


@dataclass
class Outcome:
    """What one check found, summed over slices.

    Attributes:
        check, column, severity: which check.
        success: it holds.
        evaluated: values looked at.
        unexpected: values that fail.
        observed: what was seen by a check of the whole batch.
        broken: why the check could not be evaluated.
        rows: positions of failing rows.
        shown: the result that Data Docs show.
    """

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
            self.observed = in_words(values["observed_value"])
        if not result.success and not values:
            self.broken = _exception(result.exception_info)
        if self.shown is None or (self.success and not result.success):
            self.shown = result
        self.success = self.success and bool(result.success)


def judge(contract: Contract, batch: pa.Table, window: Window | None, known_values: Mapping[str, Set[Any]]) -> list[Outcome]:
    """One outcome per check of the contract; arguments and errors as of ``fleetlake.quality.audit``."""
    batch = with_findings(batch, _unknown_values(contract, batch, known_values), contract.checks)
    parameters = _parameters(contract, batch, window)
    expectations = [
        item for item in build_suite(contract).expectations if identity(item)[0] != "freshness" or NEWEST in parameters
    ]
    outcomes = {identity(item): Outcome(*identity(item), severity_of(item)) for item in expectations}
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
    checked += [NOT_FINITE, *(unknown(column.name) for column in contract.columns if column.references)]
    checked += [off(check) for check in contract.checks if check.equation is not None]
    if batch.num_rows <= SLICE_ROWS:
        yield whole + single, sorted({*keys, *checked}), batch, 0
        return
    yield whole, keys, batch, 0
    for first in range(0, batch.num_rows, SLICE_ROWS):
        yield single, checked, batch.slice(first, SLICE_ROWS), first


def _unknown_values(contract: Contract, batch: pa.Table, known_values: Mapping[str, Set[Any]]) -> dict[str, Set[Any]]:
    unknown_values: dict[str, Set[Any]] = {}
    for column in contract.columns:
        if column.references is None or column.name not in batch.column_names:
            continue
        if column.name not in known_values:
            raise ConfigError(
                f"no known values for {column.name}, which refers to {column.references}",
                where=f"audit of {contract.table}",
                remedy="give the set of existing values, empty if there are none",
            )
        occurring = set(batch.column(column.name).unique().to_pylist())
        unknown_values[column.name] = occurring - known_values[column.name] - {None}
    return unknown_values


def _parameters(contract: Contract, batch: pa.Table, window: Window | None) -> dict[str, Any]:
    limit = next((check.limit for check in contract.checks if check.name == "freshness"), None)
    ends = [end for end in (window.end if window else None, _newest(batch, "fetched_at")) if end is not None]
    if limit is None or not ends or not contract.time_column or _newest(batch, contract.time_column) is None:
        return {}
    # Nothing can be newer than the moment of reading: a window that lies ahead of it is not stale.
    return {NEWEST: min(ends) - dt.timedelta(seconds=limit)}


def _newest(batch: pa.Table, name: str) -> dt.datetime | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if name not in batch.column_names or not pa.types.is_timestamp(batch.column(name).type):
        return None
    newest: dt.datetime | None = pc.max(batch.column(name)).as_py()
    return newest if newest is not None and newest.tzinfo is not None else None


def _exception(info: Any) -> str:
    """The message of the first exception in a result's ``exception_info``, which has two shapes."""
    if isinstance(info, Mapping):
        if info.get("exception_message"):
            return str(info["exception_message"])
        for item in info.values():
            if isinstance(item, Mapping) and item.get("exception_message"):
                return str(item["exception_message"])
    return "unknown error"


def in_words(value: Any) -> str:
    """A value as a person writes it."""
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return str(value)
