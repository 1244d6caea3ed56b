"""A publisher in a process of its own, that stops at every step until it is told to go on. Started by test_crashes.py.

Arguments: warehouse URL, lake folder, table name, load id, first ride, number of rides, then the steps to stop at.
"""

from __future__ import annotations

import sys

from fleetlake.coverage import Interval, State
from fleetlake.lake import Lake
from fleetlake.warehouse import LoadRecord, Warehouse
from fleetlake.window import Window
from samples import contract, hours, ride, table


def main() -> None:
    url, folder, name, load_id, first, count, *stops = sys.argv[1:]
    of = contract(name)
    batch = table(of, [ride(f"r{number:06d}", 1, number % 24) for number in range(int(first), int(first) + int(count))])

    def reached(step: str) -> None:
        if step in stops:
            print(step, flush=True)
            sys.stdin.readline()

    lake = Lake(folder)
    reached("ready")
    if url == "-":  # only the lake, with no lock that keeps others out
        lake.publish(of, batch, load_id)
        return
    with Warehouse(url) as warehouse:
        with warehouse.publishing(of) as tx:
            reached("locked")
            lake.publish(of, batch, load_id)
            reached("lake")
            tx.stage(batch)
            change = tx.upsert(load_id)
            reached("rows")
            tx.record_load(
                LoadRecord(
                    load_id=load_id, account="north", dataset=of.table, contract_version=of.version, feed=of.feed,
                    kind=of.kind, lane="scheduled", dag_id="d", run_id="r",
                ).with_change(change)
            )  # fmt: skip
            tx.record_coverage(
                [
                    Interval(
                        account="north", dataset=of.table, scope="1", window=Window(hours(0), hours(24)),
                        state=State.COMPLETE, proof="terminal page: p", load_id=load_id,
                    )
                ]
            )  # fmt: skip
            reached("ledger")
        reached("committed")


if __name__ == "__main__":
    main()
