"""A process that mends the holes of one account, and dies by SIGKILL at the moment named.

Reads ``{"place": {...}, "fields": {...}, "run_id": "...", "moment": "..."}`` from stdin; prints what became of the holes.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from fleetlake.accounts import Account
from fleetlake.pipeline import Pipeline, Run
from fleetlake.pipeline.heal import Healing
from fleetlake.pipeline.publish import Publisher
from fleetlake.reading import Lane
from fleetlake.settings import Settings
from fleetlake.vendors.powunity.client import PowUnityClient
from fleetlake.vendors.powunity.config import PowUnityConfig
from fleetlake.vendors.powunity.source import PowUnitySource
from fleetlake.window import Window


def die(*_args, **_more):
    os.kill(os.getpid(), signal.SIGKILL)


MOMENTS = {
    "planned, nothing asked": (Healing, "heal"),
    "pages are home, nothing is published": (Publisher, "publish"),
    "published, not noted": (Healing, "_settle"),
    "noted, not closed": (Healing, "close"),
}

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    if moment := asked["moment"]:
        setattr(*MOMENTS[moment], die)
    paths = {name: Path(asked["place"][name]) for name in ("home", "include")}
    settings = Settings(**{**asked["place"], **paths})
    account = Account(name="north", vendor="powunity", conn_id="powunity_default")
    run = Run(account=account, dag_id="heal", run_id=asked["run_id"], window=Window.day("2026-01-01"), lane=Lane.BACKFILL)
    with Pipeline(settings, account, lambda: PowUnitySource(PowUnityClient(PowUnityConfig(**asked["fields"])))) as pipeline:
        healing = pipeline.healing
        for task in healing.plan(run):
            healing.heal(run, task)
        print(json.dumps(healing.close(run, lambda subject, message: print(subject, message, file=sys.stderr)).as_dict()))
