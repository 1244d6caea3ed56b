"""The expectation suite of a contract.

=================  ==========================================================================  ==========================
check              expectation                                                                 severity
=================  ==========================================================================  ==========================
``type``           every column is there and has the contract's type                           critical
``finite``         no number is NaN or infinite                                                error
``required``       no null                                                                     the column's
``range``          between minimum and maximum                                                 the column's
``pattern``        text matches                                                                the column's
``enum``           one of the values                                                           the column's
``references``     the value exists in the other table                                         the column's
``primary_key``    no two rows of a batch have the same key                                    error, or the keys' highest
``freshness``      the newest row is not older than the window's end less the limit            the check's
``row_count_min``  at least so many rows                                                       the check's
``identity: …``    the equation holds in every row; nulls pass                                 the check's
=================  ==========================================================================  ==========================

How new the newest row must be changes from batch to batch: it is a suite parameter, so a suite is built once per process
and contract.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from fleetlake.contracts import SEVERITIES, Column, Contract
from fleetlake.errors import ConfigError, ContractError
from fleetlake.quality.engine import load
from fleetlake.quality.frame import DTYPES, NOT_FINITE, off, unknown
from fleetlake.window import utc

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite
    from great_expectations.expectations.expectation import Expectation

NEWEST = "newest_row_not_before"
"""Suite parameter of the freshness check."""

BATCH_CHECKS = ("primary_key", "freshness", "row_count_min")
"""Checks that need all rows of a batch at once; ``type`` needs none, the others can be judged slice by slice."""

GX_SEVERITY = {"warning": "info", "error": "warning", "critical": "critical"}
"""Great Expectations has three severities too, with other names; the contract's stands in ``meta``."""

ORDERED = ("bigint", "integer", "double precision", "timestamptz", "date")


@cache
def build_suite(contract: Contract) -> ExpectationSuite:
    """The suite of a contract. Each expectation's ``meta`` names its ``check``, ``column`` and ``severity``.

    Raises:
        ContractError: a check does not fit its column's type, or cannot ever be met.
    """
    load()
    import great_expectations as gx

    return gx.ExpectationSuite(contract.table, expectations=list(_expectations(contract)))


def _expectations(contract: Contract) -> Iterator[Expectation]:
    import great_expectations.expectations.core as gxe

    yield column_types_expectation()(
        types={column.name: column.type for column in contract.columns},
        **_about("type", None, "critical", "Every column of the contract is there, with its type."),
    )
    if any(column.type == "double precision" for column in contract.columns):
        yield gxe.ExpectColumnValuesToBeNull(
            column=NOT_FINITE, **_about("finite", None, "error", "No number is NaN or infinite.")
        )
    for column in contract.columns:
        yield from _column_expectations(column, f"{contract.path or contract.table}: {column.name}")
    yield _key_expectation(contract)
    for check in contract.checks:
        if check.name == "freshness" and contract.time_column:
            yield gxe.ExpectColumnMaxToBeBetween(
                column=contract.time_column,
                min_value={"$PARAMETER": NEWEST},
                **_about(
                    "freshness", contract.time_column, check.severity,
                    f"The newest row is at most {dt.timedelta(seconds=check.limit)} older than the end of the window.",
                ),
            )  # fmt: skip
        elif check.name == "row_count_min":
            yield gxe.ExpectTableRowCountToBeBetween(
                min_value=int(check.limit),
                **_about("row_count_min", None, check.severity, f"The batch has at least {check.limit:g} rows."),
            )
        elif check.equation is not None:
            text = f"{check.equation.text}, give or take {check.limit:g}; nulls pass."
            yield gxe.ExpectColumnValuesToBeNull(column=off(check), **_about(check.title, None, check.severity, text))


def _key_expectation(contract: Contract) -> Expectation:
    import great_expectations.expectations.core as gxe

    keys = [column for column in contract.columns if column.is_key]
    # Two rows with one key cannot both be stored, whatever the contract thinks of bad values in these columns.
    severity = max(("error", *(column.severity for column in keys)), key=SEVERITIES.index)
    names = [column.name for column in keys]
    about = _about(
        "primary_key", names[0] if len(names) == 1 else None, severity, f"No two rows have the same {', '.join(names)}."
    )
    if len(names) == 1:
        return gxe.ExpectColumnValuesToBeUnique(column=names[0], **about)
    return gxe.ExpectCompoundColumnsToBeUnique(column_list=names, **about)


def _column_expectations(column: Column, where: str) -> Iterator[Expectation]:
    import great_expectations.expectations.core as gxe

    name, severity = column.name, column.severity
    if column.required:
        yield gxe.ExpectColumnValuesToNotBeNull(
            column=name, **_about("required", name, severity, f"{name} is never missing.", column)
        )
    if column.minimum is not None or column.maximum is not None:
        low, high = _bound(column, column.minimum, where), _bound(column, column.maximum, where)
        if low is not None and high is not None and low > high:
            raise ContractError(
                f"minimum {column.minimum} is above maximum {column.maximum}", where=where, remedy="swap them"
            )
        yield gxe.ExpectColumnValuesToBeBetween(
            column=name, min_value=low, max_value=high,
            **_about("range", name, severity, f"{name} is {limit_text(column, 'range')}.", column),
        )  # fmt: skip
    if column.pattern is not None:
        yield gxe.ExpectColumnValuesToMatchRegex(
            column=name,
            regex=_pattern(column, where),
            **_about("pattern", name, severity, f"{name} matches {column.pattern}", column),
        )
    if column.enum is not None:
        yield gxe.ExpectColumnValuesToBeInSet(
            column=name,
            value_set=_enum(column, where),
            **_about("enum", name, severity, f"{name} is {limit_text(column, 'enum')}.", column),
        )
    if column.references is not None:
        if column.references.count(".") != 2:
            raise ContractError(f"reference to {column.references!r}", where=where, remedy="write schema.table.column")
        yield gxe.ExpectColumnValuesToBeNull(
            column=unknown(name),
            **_about("references", name, severity, f"{name} is known in {column.references}.", column),
        )


def identity(checked: Any) -> tuple[str, str | None]:
    """Check and column that an expectation, or the configuration in its result, is about."""
    return checked.meta["check"], checked.meta["column"]


def severity_of(expectation: Any) -> str:
    """The contract's severity of an expectation."""
    return str(expectation.meta["severity"])


def limit_text(column: Column, check: str) -> str | None:
    """What a column's check allows, as a person says it."""
    unit = f" {column.unit}" if column.unit else ""
    if check == "range":
        if column.minimum is None:
            return f"at most {column.maximum}{unit}"
        if column.maximum is None:
            return f"at least {column.minimum}{unit}"
        return f"{column.minimum} to {column.maximum}{unit}"
    if check == "enum":
        return "one of " + ", ".join(str(value) for value in column.enum or ())
    return {"pattern": column.pattern, "references": column.references}.get(check)


def _about(check: str, name: str | None, severity: str, text: str, column: Column | None = None) -> dict[str, Any]:
    meta = {"check": check, "column": name, "severity": severity}
    notes = None
    if column is not None:
        notes = column.description + (f" Unit: {column.unit}." if column.unit else "")
    return {"severity": GX_SEVERITY[severity], "description": f"{text} ({severity})", "meta": meta, "notes": notes}


def _bound(column: Column, value: Any, where: str) -> Any:
    if value is None:
        return None
    try:
        if column.type == "timestamptz":
            return utc(value)
        if column.type == "date":
            return dt.date.fromisoformat(str(value))
        if column.type in ORDERED and not isinstance(value, bool | str):
            return value
    except (ValueError, ConfigError):
        pass
    raise ContractError(
        f"bound {value!r} does not fit type {column.type}",
        where=where,
        remedy="numbers for number columns, ISO dates for time columns, no bounds for others",
    )


def _pattern(column: Column, where: str) -> str:
    if column.type != "text":
        raise ContractError(f"pattern on a column of type {column.type}", where=where, remedy="only text has patterns")
    pattern = str(column.pattern)
    try:
        re.compile(pattern)
    except re.error as error:
        raise ContractError(f"pattern {pattern!r} is no regular expression: {error}", where=where) from None
    return pattern


def _enum(column: Column, where: str) -> list[Any]:
    kinds: dict[str, tuple[type, ...]] = {
        "text": (str,), "bigint": (int,), "integer": (int,), "double precision": (int, float), "boolean": (bool,)
    }  # fmt: skip
    for value in column.enum or ():
        if type(value) not in kinds.get(column.type, ()):
            raise ContractError(
                f"enum value {value!r} does not fit type {column.type}",
                where=where,
                remedy="write values of the column's type (quotes make text)",
            )
    return list(column.enum or ())


@cache
def column_types_expectation() -> Callable[..., Expectation]:
    """One expectation for the types of all columns: one per column would double the time of an audit.

    Calling this also makes it known to Great Expectations, which must know it to render a result.
    """
    from great_expectations.expectations.expectation import BatchExpectation

    words = {dtype: kind for kind, dtypes in DTYPES.items() for dtype in dtypes if kind != "jsonb"}

    class ExpectColumnTypesOfContract(BatchExpectation):
        """Expect the columns to be there with the types of the contract."""

        types: dict[str, str]

        metric_dependencies = ("table.column_types",)
        success_keys = ("types",)
        args_keys = ("types",)

        def _validate(self, metrics: dict[str, Any], *_args: Any, **_kwargs: Any) -> dict[str, Any]:
            actual = {item["name"]: str(item["type"]) for item in metrics["table.column_types"]}
            wrong = [
                f"{name} is {words.get(actual[name], actual[name])}, not {kind}"
                if name in actual
                else f"{name} is not there"
                for name, kind in self.types.items()
                if actual.get(name) not in DTYPES[kind]
            ]
            return {"success": not wrong, "result": {"observed_value": "; ".join(wrong) or "as in the contract"}}

    return ExpectColumnTypesOfContract
