"""A scripted source: the smallest thing that speaks the Source protocol, for logic that no vendor can be made to show."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

from fleetlake.contracts import load_contracts
from fleetlake.raw import ReadKey
from fleetlake.reading import Feed, Kind, Page
from fleetlake.window import Window

NOW = dt.datetime(2026, 11, 22, tzinfo=dt.UTC)
DAY = Window.day("2026-11-20")
CONTRACTS = load_contracts(Path(__file__).parents[3] / "include")
EVENTS = Feed(name="events", kind=Kind.WINDOW, per_scope=True, datasets=["powunity.event"], max_days=1)
TELEMETRY = Feed(name="telemetry", kind=Kind.REVISION, per_scope=True, datasets=["rcs.telemetry"])


class ScriptedSource:
    """Answers ``pages`` from a script: per scope a list of steps, each a page or an error to raise.

    Cursors are the number of the next step, so that a resumed read starts where the last committed page points.
    """

    def __init__(self, script):
        self.script = script
        self.asked = []

    def pages(self, feed, *, scope, window, cursor, stream=False):
        self.asked.append((feed, scope, cursor))
        for step in self.script[scope][int(cursor or 0) :]:
            if isinstance(step, Exception):
                raise step
            yield step

    def close(self):
        pass


def page(number, rows, *, last=False):
    return Page(
        body=json.dumps(rows).encode(),
        request=f"GET /page/{number}",
        status=200,
        content_type="application/json",
        fetched_at=NOW,
        rows=len(rows),
        cursor=str(number + 1),
        is_last=last,
    )


def event(number, time="2026-11-20T07:00:00.000+00:00", device=1, **changes):
    row = {"id": number, "attributes": {}, "deviceId": device, "type": "deviceOnline", "eventTime": time, "positionId": 0, "geofenceId": 0, "maintenanceId": 0}  # fmt: skip
    return {**row, **changes}


def key(scope="1", feed="events", vendor="powunity", read="r-1", window=DAY):
    return ReadKey(account="north", vendor=vendor, feed=feed, scope=scope, window=window, read=read)
