"""What a run is about: the one object that travels from the scheduler (or a terminal) into the pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from fleetlake.accounts import Account
from fleetlake.reading import Lane
from fleetlake.window import Window


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one DAG for one account.

    Attributes:
        account: whose data.
        dag_id, run_id: names of the run; ``run_id`` also names its raw reads, so that a retry resumes them.
        window: the UTC window it is responsible for.
        lane: priority at the vendor's quota.
        partition: partition key, ``None`` for runs with an explicit window.
        vehicles: only these vehicles (vendor id, or another identity of the entity table); empty = all.
        datasets: only these tables: feeds that fill none of them are not read; empty = all.
        force: ask the vendor again for what is already complete.
        believe: a person has looked: answers that lack half or more of what is known are believed when two runs agree, and
            lists that have shrunk.
        mode: ``stream`` continues revision feeds where they stopped, ``window`` reads the window.
        try_number: Airflow's try, for the log only.
        clears: how often the run was cleared: its retries share what was read and reports asked for, after clearing a run
            that had read everything the vendor is asked anew.
    """

    account: Account
    dag_id: str
    run_id: str
    window: Window
    lane: Lane
    partition: str | None = None
    vehicles: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    force: bool = False
    believe: bool = False
    mode: Literal["stream", "window"] = "window"
    try_number: int = 1
    clears: int = 0

    def wants(self, tables: Iterable[str]) -> bool:
        """At least one of some tables is wanted."""
        return not self.datasets or not set(self.datasets).isdisjoint(tables)

    def read_name(self, generation: int) -> str:
        """Name of this run's reads in the raw store: the same for every retry, another for every new asking."""
        return f"{hashlib.sha256(f'{self.dag_id}/{self.run_id}'.encode()).hexdigest()[:16]}-{generation}"
