"""Finding one row by what a person types: values of the key in order, or ``name=value``; and what to say when there is none."""

from __future__ import annotations

import datetime as dt
import difflib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import sql

from fleetlake.errors import ConfigError
from fleetlake.warehouse.ddl import column_list, identifier

Connection = psycopg.Connection[Any]

_SHOWN = 3
_COMPARED = 2_000


class RowFinder:
    """Rows of one table or view.

    Args:
        connection: to the warehouse.
        table: qualified name.
        types: PostgreSQL type of each column.
        key: columns that name a row, in order.
    """

    def __init__(self, connection: Connection, table: str, types: Mapping[str, str], key: Sequence[str]) -> None:
        self._connection = connection
        self._table = table
        self._types = types
        self._key = list(key)

    def find(self, words: Sequence[str], account: str | None = None) -> dict[str, Any]:
        """The one row that the words name.

        Args:
            words: values of the key columns in order (a leading account may be left out), or ``name=value`` of any columns.
            account: only this account's.

        Raises:
            ConfigError: no row, or several; says how the key is written and which rows come near.
        """
        try:
            return self._find(words, account)
        except ConfigError as error:
            for word in words:
                name, equals, _ = word.partition("=")
                if equals and name not in self._types and difflib.get_close_matches(name, self._types, 1):
                    raise ConfigError(
                        f"{self._table} has no column {name!r}", remedy=_near_name(name, self._types)
                    ) from error
            raise

    def _find(self, words: Sequence[str], account: str | None) -> dict[str, Any]:
        wanted = self._wanted(words)
        if account is not None and "account" in self._types:
            wanted.setdefault("account", account)
        rows = self._select(wanted, _SHOWN + 1)
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise ConfigError(
                f"several rows of {self._table} fit {_said(wanted)}",
                remedy=f"give more of {', '.join(self._key)}: {'; '.join(self.written(row) for row in rows[:_SHOWN])}",
            )
        near = self._near(wanted)
        raise ConfigError(
            f"{self._table} has no row with {_said(wanted)}",
            remedy=f"near it: {'; '.join(near)}" if near else self.usage(),
        )

    def usage(self) -> str:
        """How a row is named: the key's columns and an example."""
        rows = self._select({}, 1)
        columns = " ".join(f"{name.upper()}" for name in self._key)
        example = f"for example: fleetlake why {self._table} {self.written(rows[0])}" if rows else "the table is empty"
        return f"write fleetlake why {self._table} {columns} (or name=value …); {example}"

    def written(self, row: Mapping[str, Any]) -> str:
        """The key of a row as it is typed in a shell."""
        return " ".join(shlex.quote(self._word(name, _text(row[name]))) for name in self._key)

    def _word(self, name: str, text: str) -> str:
        """A value; with its column's name where it would be read as an option, or as the value of another column."""
        begin, equals, _ = text.partition("=")
        return f"{name}={text}" if text.startswith("-") or (equals and begin in self._types) else text

    def _wanted(self, words: Sequence[str]) -> dict[str, str]:
        named: dict[str, str] = {}
        values: list[str] = []
        for word in words:
            name, equals, value = word.partition("=")
            if equals and name in self._types:
                named[name] = value
            else:
                values.append(word)
        names = [name for name in self._key if name not in named]
        if names and names[0] == "account" and len(values) == len(names) - 1:
            names = names[1:]
        if values and len(values) != len(names):
            raise ConfigError(f"{len(values)} values for {len(names)} key columns: {', '.join(names)}", remedy=self.usage())
        return {**dict(zip(names, values, strict=False)), **named}

    def _select(self, wanted: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        conditions = [
            sql.SQL("{} = {}::{}").format(sql.Identifier(name), sql.Literal(value), sql.SQL(self._types[name]))
            for name, value in wanted.items()
        ]
        where = sql.SQL(" WHERE ") + sql.SQL(" AND ").join(conditions) if conditions else sql.SQL("")
        query = sql.SQL("SELECT {} FROM {}{} LIMIT {}").format(
            column_list(list(self._types)), identifier(self._table), where, sql.Literal(limit)
        )
        try:
            with self._connection.transaction():
                return [dict(zip(self._types, row, strict=True)) for row in self._connection.execute(query)]
        except psycopg.DataError as error:
            raise ConfigError(
                f"the key does not fit: {str(error).splitlines()[0]}", where=self._table, remedy=self.usage()
            ) from None

    def _near(self, wanted: Mapping[str, str]) -> list[str]:
        """Keys that differ from what is wanted in one column, the nearest first."""
        for name in reversed(list(wanted)):
            others = {other: value for other, value in wanted.items() if other != name}
            rows = self._select(others, _COMPARED)
            if rows and (others or len(rows) <= _COMPARED):
                texts = {_text(row[name]): row for row in rows}
                near = difflib.get_close_matches(wanted[name], texts, _SHOWN, 0.4)
                if near:
                    return [self.written(texts[text]) for text in near]
        return []


def _said(wanted: Mapping[str, str]) -> str:
    return " ".join(shlex.quote(f"{name}={value}") for name, value in wanted.items()) or "no condition"


def _text(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
    return str(value)


def _near_name(name: str, known: Mapping[str, str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"one of: {', '.join(known)}"
