"""What the ledger expects of vehicles: nothing more of those that are gone, the run's window of those that it did not ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from fleetlake.coverage import Interval, State
from fleetlake.coverage.cover import without
from fleetlake.pipeline.parts import scope_column
from fleetlake.reading import Kind
from fleetlake.warehouse import ledger

if TYPE_CHECKING:
    from fleetlake.pipeline.parts import Parts
    from fleetlake.pipeline.run import Run
    from fleetlake.pipeline.vehicles import Vehicles


def note_expected(parts: Parts, vehicles: Vehicles, run: Run, datasets: Iterable[str]) -> None:
    """Note which vehicles are gone, and record as unread what a run should have read and the ledger knows nothing about.

    A gap between a vehicle's intervals shows by itself. A vehicle that is left out night after night has none: it falls behind,
    and as long as the others fail, nobody has come further.

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
    with parts.warehouse.session() as connection:
        ledger.retire(connection, account, gone, [str(row[column]) for row in rows if row["deleted_at"] is None])
        connection.commit()
    unread = []
    for table in datasets:
        contract = parts.contracts[table]
        if contract.kind is not Kind.SNAPSHOT and contract.scope_column and run.wants([table]):
            known = parts.warehouse.covered(account, table, vehicles.chosen(run), run.window)
            for scope, items in known.items():
                unread += [(table, scope, part) for part in without(run.window, [item.window for item in items])]
    if unread:
        parts.record_coverage(
            [
                Interval(
                    account=account,
                    dataset=table,
                    scope=scope,
                    window=part,
                    state=State.FAILED,
                    proof="unread: the run that was to read it never asked",
                    run_id=run.run_id,
                )
                for table, scope, part in unread
            ]
        )
