"""Which known rows some answers lack: one question about many vehicles and windows, answered by the database."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from psycopg import sql

from fleetlake.reading import FLEET
from fleetlake.warehouse.ddl import column_list, identifier

if TYPE_CHECKING:
    from fleetlake.contracts import Contract
    from fleetlake.window import Window

K = TypeVar("K")
"""Name of an answer."""

_PART_ROWS = 20_000


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What one answer is about.

    Attributes:
        scope: vehicle or device, or ``FLEET``; the answers of one question are all about vehicles, or all about the fleet.
        window: of the contract's time column; ``None`` = all time.
        at: when its reading began; rows that were read later cannot be missing from it.
    """

    scope: str
    window: Window | None
    at: dt.datetime


@dataclass(frozen=True)
class Lack:
    """What an answer lacks.

    Attributes:
        missing: known rows that are not in it, in rows.
        returned: those of them that a second reading has.
    """

    missing: int = 0
    returned: int = 0


def known(
    connection: psycopg.Connection[Any], contract: Contract, account: str, answers: Mapping[K, Answered]
) -> dict[K, int]:
    """How many rows are known of what some answers are about: those not marked deleted.

    Returns:
        Rows by answer; answers about which nothing is known are left out.
    """
    statement = sql.SQL("SELECT q.number, count(*) FROM {} GROUP BY 1").format(_live(contract, answers.values()))
    names = list(answers)
    found = connection.execute(statement, _values(account, answers.values()))
    return {names[number - 1]: count for number, count in found}


def lacking(
    connection: psycopg.Connection[Any],
    contract: Contract,
    account: str,
    answers: Mapping[K, Answered],
    rows: pa.Table,
    again: pa.Table | None = None,
) -> dict[K, Lack]:
    """Which known rows some answers lack.

    Args:
        connection: its transaction is left open, with temporary tables that end with it.
        contract: the table.
        account: account of the answers.
        answers: what they are about.
        rows: all rows that came with them, at least the columns of the key.
        again: the same of second readings.

    Returns:
        What is missing, by answer; answers that lack nothing are left out.
    """
    first, second = sql.Identifier("pg_temp", "fleetlake_first"), sql.Identifier("pg_temp", "fleetlake_second")
    _copy_keys(connection, contract, first, rows)
    _copy_keys(connection, contract, second, rows.slice(0, 0) if again is None else again)
    statement = sql.SQL(
        "SELECT q.number, count(*), count(s.account) FROM {live}"
        " LEFT JOIN {first} f ON {in_first} LEFT JOIN {second} s ON {in_second}"
        " WHERE f.account IS NULL AND t.fetched_at <= q.at GROUP BY 1"
    ).format(
        live=_live(contract, answers.values()),
        first=first,
        second=second,
        in_first=_same_key(contract, "f"),
        in_second=_same_key(contract, "s"),
    )
    names = list(answers)
    found = connection.execute(statement, _values(account, answers.values()))
    return {names[number - 1]: Lack(missing, returned) for number, missing, returned in found}


def history(
    connection: psycopg.Connection[Any], dataset: str, account: str, answers: Mapping[K, Answered], run_id: str
) -> tuple[dict[K, int], set[tuple[K, str]]]:
    """What the ledger knows of the windows of some answers, whether or not rows of them were ever published.

    Returns:
        The most rows that came with an earlier answer about exactly this window, by answer; and the doubts (answer, kind
        of proof) that *other* runs had about answers on it.
    """
    columns = "scope, window_start, window_end, rows, state, proof, run_id"
    own = "WHERE account = %(account)s AND dataset = %(dataset)s AND scope = ANY(%(scopes)s)"
    statement = (
        "SELECT q.number, c.window_start = q.low AND c.window_end = q.high, c.rows,"
        " CASE WHEN c.state = 'partial' AND c.run_id IS DISTINCT FROM %(run_id)s THEN split_part(c.proof, ':', 1) END"
        f" FROM {_QUESTIONS.format(kind='text')} JOIN (SELECT {columns} FROM ops.coverage {own}"
        f" UNION ALL SELECT {columns} FROM ops.coverage_attempt {own}) c"
        " ON c.scope = q.scope AND c.window_start <= q.low AND c.window_end >= q.high"
    )
    names = list(answers)
    values = {**_values(account, answers.values()), "dataset": dataset, "run_id": run_id}
    most: dict[K, int] = {}
    doubts: set[tuple[K, str]] = set()
    for number, is_same_window, rows, doubt in connection.execute(statement.encode(), values):
        name = names[number - 1]
        if is_same_window and rows is not None:
            most[name] = max(rows, most.get(name, 0))
        if doubt is not None:
            doubts.add((name, doubt))
    return most, doubts


_QUESTIONS = (
    "unnest(%(scopes)s::{kind}[], %(low)s::timestamptz[], %(high)s::timestamptz[], %(at)s::timestamptz[])"
    " WITH ORDINALITY AS q (scope, low, high, at, number)"
)


def _live(contract: Contract, answers: Iterable[Answered]) -> sql.Composed:
    """A join: rows ``t`` that are not marked deleted, with the answers ``q`` that are about them."""
    one = next(iter(answers))
    conditions: list[sql.Composable] = [sql.SQL("t.account = %(account)s AND t.deleted_at IS NULL")]
    kind = "text"
    if one.scope != FLEET and contract.scope_column is not None:
        column = contract.column(contract.scope_column)
        kind = column.type
        conditions.append(sql.SQL("t.{} = q.scope").format(sql.Identifier(column.name)))
    if one.window is not None and contract.time_column is not None:
        conditions.append(sql.SQL("t.{0} >= q.low AND t.{0} < q.high").format(sql.Identifier(contract.time_column)))
    return sql.SQL(f"{_QUESTIONS.format(kind=kind)} JOIN {{}} t ON {{}}").format(
        identifier(contract.table), sql.SQL(" AND ").join(conditions)
    )


def _values(account: str, answers: Iterable[Answered]) -> dict[str, Any]:
    answers = list(answers)
    return {
        "account": account,
        "scopes": [item.scope for item in answers],
        "low": [item.window.start if item.window else None for item in answers],
        "high": [item.window.end if item.window else None for item in answers],
        "at": [item.at for item in answers],
    }


def _copy_keys(connection: psycopg.Connection[Any], contract: Contract, target: sql.Identifier, rows: pa.Table) -> None:
    names = list(contract.key)
    keys = rows.select(names)
    for name in names:  # a row without its key is no row the warehouse could know
        keys = keys.filter(pc.is_valid(keys[name]))
    keys = keys.group_by(names).aggregate([]).select(names)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(target))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            target, column_list(names), identifier(contract.table)
        )
    )
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(target, column_list(names))
    with connection.cursor() as cursor, cursor.copy(command) as copy:
        for start in range(0, keys.num_rows, _PART_ROWS):
            buffer = io.BytesIO()
            pa_csv.write_csv(keys.slice(start, _PART_ROWS), buffer, pa_csv.WriteOptions(include_header=False))
            copy.write(buffer.getbuffer())
    connection.execute(sql.SQL("ANALYZE {}").format(target))


def _same_key(contract: Contract, other: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("t.{0} = {1}.{0}").format(sql.Identifier(name), sql.Identifier(other)) for name in contract.key
    )
