"""Rows set aside, in ``ops.quarantine``: recorded, settled, listed, dropped."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from fleetlake.warehouse.records import QuarantineRecord

Connection = psycopg.Connection[Any]

_NAMES = (
    "quarantine_id", "account", "dataset", "scope", "stage", "check_name", "column_name", "reason", "severity", "row_key",
    "raw_row", "raw_page", "raw_index", "load_id", "contract_version", "reading", "quarantined_at",
)  # fmt: skip
_SETTLED = ("resolved_at", "resolution", "resolution_reason", "resolved_by")


def record(connection: Connection, records: Iterable[QuarantineRecord], moment: dt.datetime, *, reopen: bool) -> None:
    """Write findings. One that is there already is brought up to date; one that a person dropped stays dropped.

    Args:
        connection: in the publication's transaction.
        records: what the batch sets aside.
        moment: of the publication.
        reopen: findings that were settled are open again: the vendor still sends the row.
    """
    values = [
        {
            "quarantine_id": item.id,
            "account": item.account,
            "dataset": item.dataset,
            "scope": item.scope,
            "stage": item.stage,
            "check_name": item.check,
            "column_name": item.column,
            "reason": _clean(item.reason),
            "severity": item.severity,
            "row_key": _clean(item.key),
            "raw_row": as_jsonb(item.raw),
            "raw_page": item.page,
            "raw_index": item.index,
            "load_id": item.load_id,
            "contract_version": item.contract_version,
            "reading": item.reading,
            "quarantined_at": moment,
        }
        for item in records
    ]
    if not values:
        return
    changes = [f"{name} = excluded.{name}" for name in _NAMES[1:-1]]
    if reopen:
        changes += [f"{name} = CASE WHEN q.resolution = 'dropped' THEN q.{name} END" for name in _SETTLED]
    statement = sql.SQL(
        f"INSERT INTO ops.quarantine AS q ({', '.join(_NAMES)}) VALUES ({', '.join(f'%({name})s' for name in _NAMES)})"
        f" ON CONFLICT (quarantine_id) DO UPDATE SET {', '.join(changes)}"
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, values)


def settle_taken(connection: Connection, dataset: str, stage: sql.Identifier, moment: dt.datetime) -> None:
    """Close entries of rows that the batch in a stage takes."""
    connection.execute(
        sql.SQL(
            "UPDATE ops.quarantine q SET resolved_at = %s, resolution = 'taken' FROM {} s WHERE q.resolved_at IS NULL"
            " AND q.account = s.account AND q.dataset = %s AND q.raw_page = s.raw_page AND q.raw_index = s.raw_row"
        ).format(stage),
        [moment, dataset],
    )


def settle_judged(
    connection: Connection, dataset: str, pages: Sequence[str], found: Sequence[str], moment: dt.datetime
) -> None:
    """Close entries about some pages that judging those pages again does not find any more.

    Args:
        connection: in the publication's transaction, after ``record`` and ``settle_taken``.
        dataset: table.
        pages: pages of the batch.
        found: ids of what the batch sets aside.
        moment: of the publication.
    """
    connection.execute(
        "UPDATE ops.quarantine SET resolved_at = %s, resolution = 'superseded' WHERE resolved_at IS NULL AND dataset = %s"
        " AND raw_page = ANY(%s) AND quarantine_id <> ALL(%s)",
        [moment, dataset, list(pages), list(found)],
    )


def settle_older(connection: Connection, dataset: str, folders: Iterable[str], moment: dt.datetime) -> None:
    """Close entries from older readings of what some whole reads have now brought anew.

    Args:
        connection: in the publication's transaction.
        dataset: table.
        folders: folders of those reads in the raw store; their parent names feed, window and scope.
        moment: of the publication.
    """
    by_parent = {folder.rpartition("/")[0]: folder for folder in folders}
    connection.execute(
        "UPDATE ops.quarantine SET resolved_at = %s, resolution = 'superseded' WHERE resolved_at IS NULL AND dataset = %s"
        " AND regexp_replace(raw_page, '/[^/]+/[^/]+$', '') = ANY(%s)"
        " AND regexp_replace(raw_page, '/[^/]+$', '') <> ALL(%s)",
        [moment, dataset, list(by_parent), list(by_parent.values())],
    )


def drop(connection: Connection, ids: Sequence[str], reason: str, by: str, moment: dt.datetime | None = None) -> int:
    """Settle entries on a person's word; the raw rows stay. Returns how many were open.

    Args:
        connection: its transaction is the caller's.
        ids: entries.
        reason: why.
        by: who.
        moment: when, UTC; ``None`` = now.
    """
    return connection.execute(
        "UPDATE ops.quarantine SET resolved_at = coalesce(%s, now()), resolution = 'dropped', resolution_reason = %s, resolved_by = %s"
        " WHERE resolved_at IS NULL AND quarantine_id = ANY(%s)",
        [moment, reason, by, list(ids)],
    ).rowcount


def _clean(text: str | None) -> str | None:
    """PostgreSQL holds no NUL character."""
    return text.replace("\x00", "\ufffd") if text else text


_NO_JSONB = re.compile(r"\\u(0000|[dD][89a-fA-F])")


def as_jsonb(raw: str | None) -> str | None:
    """JSON text that PostgreSQL takes: the row itself, or a JSON string of it when it is no JSON or jsonb refuses it."""
    if raw is None:
        return None
    try:
        msgspec.json.decode(raw)
        if not _NO_JSONB.search(raw) and "\x00" not in raw:
            return raw
    except (msgspec.DecodeError, UnicodeEncodeError):
        pass
    return msgspec.json.encode((_clean(raw) or "").encode(errors="replace").decode()).decode()
