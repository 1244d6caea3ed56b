"""One try of a health report's run without Airflow, in this process; dies by SIGKILL at the moment named.

usage: run_health_report.py <moment> <day>     everything else comes by the environment, see `test_job_crashes.py`
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

from fleetlake.accounts import Account
from fleetlake.pipeline import Pipeline, Run
from fleetlake.pipeline.job_table import Desk, JobTable, Stage
from fleetlake.pipeline.jobs import Jobs
from fleetlake.reading import Lane
from fleetlake.settings import Settings
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.warehouse.publication import Publication
from fleetlake.window import Window

FEED = "health_overview"


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def dies_after(kind, name):
    real = getattr(kind, name)

    def call(*args, **kwargs):
        real(*args, **kwargs)
        die()

    setattr(kind, name, call)


def plant(moment):
    """Where the process dies."""
    if moment == "before the intent":
        Desk.intend = die
    elif moment == "intended, not sent":
        Desk.sending = die
    elif moment == "about to send":
        dies_after(Desk, "sending")
    elif moment == "sent, token not stored":
        Desk.asked = die
    elif moment == "token stored, nobody waits":
        dies_after(Jobs, "ask")
    elif moment == "during a poll":
        dies_after(RcsSource, "poll")
    elif moment == "home, not published":
        Jobs._publish = die
    elif moment == "in the lake, not in the warehouse":
        Publication.record_load = die
    elif moment == "published, job not closed":
        move = JobTable.move

        def closing(self, job, stage, words=""):
            die() if stage is Stage.COLLECTED else move(self, job, stage, words)

        JobTable.move = closing
    elif moment == "job closed, nobody told":
        dies_after(Jobs, "collect")
    elif moment != "never":
        raise SystemExit(f"no moment {moment!r}")


def main():
    moment, day = sys.argv[1:]
    plant(moment)
    account = Account(name="main", vendor="rcs", conn_id="rcs_default", chunk_size=3)
    config = RcsConfig(rate_per_s=200, burst=50, **json.loads(os.environ["RCS_CONFIG"]))
    run = Run(account=account, dag_id="health", run_id=f"run {day}", window=Window.day(day), lane=Lane.SCHEDULED)
    with Pipeline(Settings.from_env(), account, lambda: RcsSource(RcsClient(config))) as pipeline:
        job = pipeline.ask(run, feed=FEED)
        while job.stage.is_open and not pipeline.poll(run, feed=FEED).state.is_terminal:
            time.sleep(0.1)
        chunks = pipeline.collect(run, feed=FEED)
        for chunk in chunks:
            pipeline.load(run, feeds=["health_reports"], scopes=chunk)
        proven = pipeline.certify(run, datasets=["rcs.health_report", "rcs.trouble"])
    print(json.dumps({"chunks": chunks, "proven": proven}))


if __name__ == "__main__":
    main()
