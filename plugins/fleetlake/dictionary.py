"""The data dictionary, ``docs/data-dictionary.md``: rendered from contracts, fleet model and the comments in ``include/sql``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fleetlake.contracts import ACCOUNT, LOADED_AT, PROVENANCE, Column, Contract, TableCheck
from fleetlake.fleet_tables import FleetColumn, FleetTable, load_fleet_tables
from fleetlake.reading import Kind

_KINDS = {
    Kind.SNAPSHOT: "the current state of all, read anew each time",
    Kind.WINDOW: "one window of event time at a time; a complete answer replaces the window",
    Kind.REVISION: "continued by the vendor's revision; backfills read a window",
    Kind.REPORT: "an asynchronous report about a window",
}
_MERGES = {
    "replace": "a newer row replaces the older one",
    "coalesce": "a null never overwrites a known value",
}
_READERS = {
    "iso": "text with zone",
    "naive": "text without zone, taken as UTC",
    "unix_s": "seconds since 1970",
    "unix_ms": "milliseconds since 1970",
    "lower": "in lower case",
    "json": "kept as JSON",
}


@dataclass
class _SqlTable:
    """A table or view of ``include/sql`` and its comments."""

    name: str
    kind: str
    comment: str = ""
    types: dict[str, str] = field(default_factory=dict)
    comments: dict[str, str] = field(default_factory=dict)


def render(contracts: Mapping[str, Contract]) -> str:
    """The whole page. The same contracts and SQL files give the same text.

    Args:
        contracts: by table name; SQL files are looked for beside the folder they were read from.
    """
    tables = sorted(contracts.values(), key=lambda contract: contract.table)
    includes = sorted({contract.path.parents[2] for contract in tables if contract.path})
    sql = _sql_tables(includes)
    fleet = [table for include in includes for table in load_fleet_tables(include).values()]
    lines = [
        "# Data dictionary",
        "",
        "Every table, column, unit and check. Made by `fleetlake dictionary` from `include/contracts`, `include/fleet/model` and",
        "`include/sql`: edit those, not this page. The same texts are comments in the database (`\\d+ powunity.trip` in psql).",
        "",
        "All times are UTC. Units stand in a column's name. Null means unknown. Rows are never removed: `deleted_at` is set.",
        "",
        *_contents(tables, fleet, sql),
        "",
        "## Columns of every table",
        "",
        "Vendor tables have these besides their own columns: the account, and where a row comes from.",
        "",
        *_table(
            ["column", "type", "meaning"],
            [[f"`{column.name}`", column.type, column.description] for column in (ACCOUNT, *PROVENANCE, LOADED_AT)],
        ),
    ]
    for contract in tables:
        lines += ["", *_contract(contract)]
    for item in fleet:
        lines += ["", *_fleet_section(item)]
    for table in sql:
        lines += ["", *_sql_section(table)]
    return "\n".join(lines) + "\n"


def check(path: Path, contracts: Mapping[str, Contract]) -> list[str]:
    """Lines in which the page at ``path`` differs from what it should be; empty when it is current."""
    actual = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not actual:
        return [f"{path} is missing; write it with `fleetlake dictionary`"]
    difference = difflib.unified_diff(
        actual.splitlines(), render(contracts).splitlines(), str(path), "contracts", lineterm="", n=0
    )
    return list(difference)


def _contents(contracts: Sequence[Contract], fleet: Sequence[FleetTable], sql: Sequence[_SqlTable]) -> list[str]:
    rows = [[_link(contract.table), contract.grain or contract.description] for contract in contracts]
    rows += [[_link(table.table), table.rows] for table in fleet]
    rows += [[_link(table.name), table.comment] for table in sql]
    return _table(["table", "one row is / what it tells"], rows)


def _contract(contract: Contract) -> list[str]:
    facts = [
        ["grain", contract.grain or contract.description],
        ["key", ", ".join(f"`{name}`" for name in contract.key)],
        ["read from", f"feed `{contract.feed}` of {contract.vendor}: {_KINDS[contract.kind]}"],
        ["loaded by", f"`{contract.loaded_by}`" if contract.loaded_by else "no DAG: not verified against the vendor"],
        ["per", f"`{contract.scope_column}`" if contract.scope_column else "account"],
        ["placed in time by", f"`{contract.time_column}`" if contract.time_column else "nothing: no day partitions"],
        ["merge", _MERGES[contract.merge]],
        ["contract", f"version {contract.version}"],
    ]
    if contract.limitations:
        facts.append(["limits", contract.limitations])
    facts += [[f"check `{item.name}`", f"{_table_check(item)} ({item.severity})"] for item in contract.checks]
    columns = [
        [f"`{column.name}`", _type(column), column.unit or "", column.description, _source(column), _checks(column)]
        for column in contract.columns
    ]
    return [
        f"## {contract.table}",
        "",
        contract.description,
        "",
        *_table(["", ""], facts),
        "",
        *_table(["column", "type", "unit", "meaning", "vendor's field", "checks"], columns),
    ]


def _type(column: Column) -> str:
    return f"{column.type}, key" if column.is_key else column.type


def _source(column: Column) -> str:
    if column.source is None:
        return "derived"
    text = f"`{column.source}`"
    if column.source_unit and (column.source_unit != column.unit or column.factor is not None):
        text += f" in {column.source_unit}"
    if column.factor is not None:
        text += f" x {column.factor:g}"
    if column.read:
        text += f", {_READERS[column.read]}"
    return text


def _checks(column: Column) -> str:
    checks = []
    if column.required:
        checks.append("never null")
    if column.minimum is not None and column.maximum is not None:
        checks.append(f"{column.minimum} to {column.maximum}")
    elif column.minimum is not None:
        checks.append(f"at least {column.minimum}")
    elif column.maximum is not None:
        checks.append(f"at most {column.maximum}")
    if column.pattern is not None:
        checks.append(f"matches `{column.pattern}`")
    if column.enum is not None:
        checks.append("one of " + ", ".join(f"`{value}`" for value in column.enum))
    if column.references is not None:
        checks.append(f"exists in `{column.references}`")
    return f"{'; '.join(checks)} ({column.severity})" if checks else ""


def _table_check(check: TableCheck) -> str:
    if check.equation is not None:
        return f"`{check.equation.text}`, give or take {check.limit:g}; nulls pass"
    return {
        "freshness": f"newest row at most {check.limit:g} s older than the end of the window",
        "max_rejected_pct": f"at most {check.limit:g} % of a batch's rows set aside",
        "row_count_min": f"at least {check.limit:g} rows in a batch",
    }[check.name]


def _fleet_section(table: FleetTable) -> list[str]:
    facts = [
        ["grain", table.rows],
        ["key", ", ".join(f"`{name}`" for name in table.key) or "none: a view"],
        ["made from", ", ".join(f"`{source}`" for source in sorted(table.sources))],
        ["model", f"version {table.version}"],
    ]
    columns = [
        [
            f"`{column.name}`",
            f"{column.type}, key" if column.is_key else column.type,
            column.unit or "",
            column.description,
            _lineage(column),
        ]
        for column in table.stored_columns
    ]
    return [
        f"## {table.table}",
        "",
        table.description,
        "",
        *_table(["", ""], facts),
        "",
        *_table(["column", "type", "unit", "meaning", "made from"], columns),
    ]


def _lineage(column: FleetColumn) -> str:
    names = ", ".join(f"`{name}`" for name in column.lineage)
    return f"{names}. {column.how}" if names and column.how else names or column.how or ""


def _sql_section(table: _SqlTable) -> list[str]:
    names = [*table.types, *(name for name in table.comments if name not in table.types)]
    rows = [[f"`{name}`", table.types.get(name, ""), table.comments.get(name, "")] for name in names]
    lines = [f"## {table.name}", "", f"{table.comment} ({table.kind})" if table.kind == "view" else table.comment]
    return [*lines, "", *_table(["column", "type", "meaning"], rows)] if rows else lines


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; cells may hold any text."""
    lines = [heads, ["---"] * len(heads), *([_cell(text) for text in row] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _link(name: str) -> str:
    return f"[{name}](#{name.replace('.', '')})"


# --- comments in SQL files ------------------------------------------------------------------------------------------------

_TEXT = r"'((?:[^']|'')*)'"
_CREATE = re.compile(r"CREATE (?:OR REPLACE )?(TABLE|VIEW|MATERIALIZED VIEW) (?:IF NOT EXISTS )?(\w+\.\w+)", re.IGNORECASE)
_ON_TABLE = re.compile(rf"COMMENT ON (?:TABLE|VIEW|MATERIALIZED VIEW) (\w+\.\w+) IS {_TEXT}", re.IGNORECASE)
_ON_COLUMN = re.compile(rf"COMMENT ON COLUMN (\w+\.\w+)\.(\w+) IS {_TEXT}", re.IGNORECASE)
_COLUMN = re.compile(r"^\s{4}(\w+) ([a-z]\w*(?: precision| with time zone)?)\b", re.MULTILINE)
_ADDED = re.compile(
    r"ALTER TABLE (\w+\.\w+) ADD COLUMN (?:IF NOT EXISTS )?(\w+) ([a-z]\w*(?: precision| with time zone)?)\b", re.IGNORECASE
)
_LIKE = re.compile(r"\(LIKE (\w+\.\w+)", re.IGNORECASE)
_LOOP = re.compile(r"FOREACH name IN ARRAY ARRAY\[([^\]]*)\] LOOP(.*?)END LOOP", re.DOTALL)
_IN_LOOP = re.compile(r"COMMENT ON COLUMN (\w+)\.%I\.(\w+) IS ''((?:[^']|'''')*)''")
_NO_COLUMN = {"PRIMARY", "CHECK", "UNIQUE", "FOREIGN", "CONSTRAINT", "EXCLUDE"}


def _sql_tables(includes: Sequence[Path]) -> list[_SqlTable]:
    """Tables and views of the SQL files, by name; a table made ``LIKE`` another has its columns."""
    folders = [include / "sql" for include in includes]
    tables: dict[str, _SqlTable] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.sql"))):
        text = path.read_text(encoding="utf-8")
        for kind, name, body in _statements(text):
            like = _LIKE.search(body)
            table = tables.setdefault(name, _SqlTable(name, kind))
            table.types = dict(tables[like[1]].types) if like else dict(_columns(body)) if kind == "table" else {}
        for name, column, kind in _ADDED.findall(text):
            if name in tables:
                tables[name].types[column] = kind
        for name, comment in _ON_TABLE.findall(text):
            if name in tables:
                tables[name].comment = comment.replace("''", "'")
        for name, column, comment in [*_ON_COLUMN.findall(text), *_formatted(text)]:
            if name in tables:
                tables[name].comments[column] = comment.replace("''", "'")
    return [tables[name] for name in sorted(tables)]


def _statements(text: str) -> Iterator[tuple[str, str, str]]:
    for match in _CREATE.finditer(text):
        yield match[1].lower(), match[2], text[match.end() : text.index(";", match.end())]


def _columns(body: str) -> Iterator[tuple[str, str]]:
    for name, kind in _COLUMN.findall(body):
        if name.upper() not in _NO_COLUMN:
            yield name, kind


def _formatted(text: str) -> Iterator[tuple[str, str, str]]:
    """Comments that a loop gives to several tables alike."""
    for names, body in _LOOP.findall(text):
        for schema, column, comment in _IN_LOOP.findall(body):
            for name in re.findall(r"'(\w+)'", names):
                yield f"{schema}.{name}", column, comment.replace("''''", "''")
