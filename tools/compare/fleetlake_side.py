"""fleetlake's side of the comparison: one run, in a process of its own, as a task of a DAG does it.

usage: fleetlake_side.py '<JSON>'    see ``compare.py`` for the keys
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fleetlake.accounts import Account
from fleetlake.pipeline import Pipeline, Run
from fleetlake.pipeline.job_table import Desk
from fleetlake.reading import Lane, Page
from fleetlake.settings import Settings
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import RcsSource
from fleetlake.window import Window


class Dated:
    """A source whose answers say the simulated vendor's time: ten nights are played in a minute."""

    def __init__(self, source: Any, now: dt.datetime) -> None:
        self._source = source
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def pages(self, feed: str, **asked: Any) -> Iterator[Page]:
        """See ``fleetlake.reading.Source.pages``."""
        for page in self._source.pages(feed, **asked):
            yield replace(page, fetched_at=self._now)


def main() -> None:
    """Run what the JSON says; an exception ends the process with status 1, as in a scheduler's task."""
    asked = json.loads(sys.argv[1])
    settings = Settings(
        home=Path(asked["home"]),
        include=Path(asked["include"]),
        warehouse_url=asked["warehouse"],
        lake_url=f"{asked['home']}/lake",
        raw_url=f"{asked['home']}/raw",
    )
    account = Account(name=asked["account"], vendor=asked["vendor"], conn_id="compared")
    run = Run(
        account=account,
        dag_id="compared",
        run_id=asked["run_id"],
        window=Window.parse(asked["start"], asked["end"]),
        lane=Lane.SCHEDULED,
        partition=asked["start"] if asked["mode"] == "stream" else None,
        mode=asked["mode"],
        force=asked.get("force", False),
        vehicles=tuple(asked.get("vehicles", ())),
    )
    if asked.get("die") == "after the request":
        Desk.asked = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    with Pipeline(settings, account, lambda: source_of(asked)) as pipeline:
        if asked["task"] == "job":
            job(pipeline, run)
            return
        feeds = asked["feeds"]
        for chunk in pipeline.plan(run, entity_feed=asked["entity"], feeds=feeds):
            pipeline.load(run, feeds=feeds, scopes=chunk)
        pipeline.certify(run, datasets=asked["datasets"])


def job(pipeline: Pipeline, run: Run) -> None:
    """The DAG of health reports."""
    pipeline.plan(run, entity_feed="vehicles", feeds=[])
    found = pipeline.ask(run, feed="health_overview")
    while found.stage.is_open and not pipeline.poll(run, feed="health_overview").state.is_terminal:
        time.sleep(0.2)
    for chunk in pipeline.collect(run, feed="health_overview"):
        pipeline.load(run, feeds=["health_reports"], scopes=chunk)
    pipeline.certify(run, datasets=["rcs.health_report", "rcs.trouble"])


def source_of(asked: dict[str, Any]) -> Any:
    """The vendor's room, without a quota: the comparison is about data, not about waiting."""
    if asked["vendor"] == "rcs":
        source: Any = RcsSource(RcsClient(RcsConfig(**asked["connection"], rate_per_s=1000, burst=100)))
    else:
        config = PowUnityConfig(**asked["connection"], rate_per_s=1000, burst=100, history_days=0)
        source = PowUnitySource(PowUnityClient(config))
    return Dated(source, dt.datetime.fromisoformat(asked["now"])) if asked.get("now") else source


if __name__ == "__main__":
    main()
