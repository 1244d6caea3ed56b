"""What the ledger expects of vehicles: nothing more of those that are gone, something of those that nobody has asked about."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fleetlake.coverage import Interval, State
from fleetlake.pipeline.parts import scope_column
from fleetlake.reading import Kind
from fleetlake.warehouse import ledger

if TYPE_CHECKING:
    from fleetlake.pipeline.parts import Parts
    from fleetlake.pipeline.run import Run
    from fleetlake.pipeline.vehicles import Vehicles


def note_expected(parts: Parts, vehicles: Vehicles, run: Run, datasets: Iterable[str]) -> None:
    """Note which vehicles are gone, and record as unread those that a run should have read and the ledger has never heard of.

    A vehicle with intervals needs no such word: its gaps show by themselves.

    Args:
        parts: the account's.
        vehicles: the account's.
        run: a run that has come to its end.
        datasets: tables that it was to load.
    """
    account = parts.account.name
    column = scope_column(vehicles.contract)
    rows = list(parts.warehouse.rows(vehicles.contract, account=account, columns=["deleted_at", column]))
    gone = [str(row[column]) for row in rows if row["deleted_at"] is not None]
    chosen = vehicles.chosen(run)
    unread = []
    with parts.warehouse.session() as connection:
        ledger.retire(connection, account, gone, [str(row[column]) for row in rows if row["deleted_at"] is None])
        connection.commit()
        for table in datasets:
            contract = parts.contracts[table]
            if contract.kind is not Kind.SNAPSHOT and contract.scope_column and run.wants([table]):
                unread += [(table, scope) for scope in ledger.never_asked(connection, account, table, chosen)]
    if unread:
        parts.record_coverage(
            [
                Interval(
                    account=account,
                    dataset=table,
                    scope=scope,
                    window=run.window,
                    state=State.FAILED,
                    proof="unread: the run that was to read it never asked",
                    run_id=run.run_id,
                )
                for table, scope in unread
            ]
        )
