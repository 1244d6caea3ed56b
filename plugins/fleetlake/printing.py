"""Answers on a terminal: tables for people, CSV and JSON for machines."""

from __future__ import annotations

import csv
import datetime as dt
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Any

import typer

from fleetlake.canonical import FLOAT_DIGITS


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"  # one object per line


def print_answer(names: Sequence[str], rows: Iterable[Sequence[Any]], output: Format, limit: int) -> None:
    """Print the answer to a query on standard output.

    Args:
        names: columns; of equal names each gets a number.
        rows: values as PostgreSQL gives them.
        output: how.
        limit: rows of a table at most, 0 = all; the other forms print all.
    """
    columns = _distinct(names)
    if output is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)
    elif output is Format.JSON:
        for row in rows:
            record = {name: plain(value) for name, value in zip(columns, row, strict=True)}
            typer.echo(json.dumps(record, ensure_ascii=False, allow_nan=False))
    else:
        print_table(columns, rows, limit)


def _distinct(names: Iterable[str]) -> list[str]:
    """Column names, each once: an object cannot hold two values of one name."""
    names = list(names)
    result: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in result or (number > 1 and candidate in names):
            number += 1
            candidate = f"{name}_{number}"
        result.append(candidate)
    return result


def plain(value: Any) -> Any:
    """Any value of PostgreSQL as JSON takes it, nothing rounded. Digests have their own, strict form."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        return _number(value)
    if isinstance(value, dt.datetime):
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat(timespec="microseconds")
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{bytes(value).hex()}"
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def _number(value: float | Decimal) -> int | float | str:
    number = float(value)
    if math.isnan(number):
        return "NaN"
    if math.isinf(number) and not Decimal(value).is_finite():
        return "Infinity" if number > 0 else "-Infinity"
    if value == int(value) and -(2**63) <= int(value) < 2**63:
        return int(value)
    # A numeric with more digits than a float has keeps them as text.
    return number if isinstance(value, float) or Decimal(repr(number)) == value else str(value)


def _cell(value: Any) -> Any:
    value = plain(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value


def _shown(value: Any) -> str:
    """A value for people: times to the second where that is all there is, floats without the noise of their last digits."""
    if isinstance(value, dt.datetime):
        moment = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        text = moment.isoformat(" ", "microseconds" if moment.microsecond else "seconds")
        return f"{text}Z" if value.tzinfo else text
    if isinstance(value, float):
        value = round(value, FLOAT_DIGITS) or value  # but a small number is not nothing
    return str(_cell(value))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], limit: int) -> None:
    """Print a table for people; see ``print_answer``."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    more = False
    for number, row in enumerate(rows):
        if more := bool(limit) and number >= limit:
            break
        table.add_row(*("" if value is None else _shown(value) for value in row))
    # No markup: [x] and :x: in a value are the value.
    Console(width=None if sys.stdout.isatty() else 250, markup=False, emoji=False).print(table)
    if more:
        typer.echo(f"only the first {limit} rows are shown: --limit 0 shows all", err=True)
