"""What a task has to read: which windows of which vehicles, from where on, and what is done already."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fleetlake.pipeline.extract import Read
from fleetlake.pipeline.run import Run
from fleetlake.raw import ReadKey
from fleetlake.reading import Feed, Kind
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.warehouse import Warehouse

_EPOCH = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""Before any vehicle had telematics."""


def key_of(account: Account, feed: Feed, scope: str, window: Window | None, read: str) -> ReadKey:
    """Place of a read in the raw store."""
    return ReadKey(account=account.name, vendor=account.vendor, feed=feed.name, scope=scope, window=window, read=read)


class Reading:
    """The reads of one account.

    Args:
        warehouse: knows what is published, and where streams are.
        account: whose data.
    """

    def __init__(self, warehouse: Warehouse, account: Account) -> None:
        self._warehouse = warehouse
        self._account = account

    def reads(self, run: Run, feed: Feed, scopes: Sequence[str]) -> list[Read]:
        """What this task has to read: everything not published by an earlier try of the same run.

        When an earlier execution has published everything, this one is a repetition somebody asked for, and the vendor is
        asked anew. A stream cannot repeat: a repetition, a forced run and a run about days before the stream began read
        their window instead.
        """
        may_stream = feed.kind is Kind.REVISION and run.mode == "stream" and not run.force
        windows = self._windows(run, feed)
        batches: Mapping[str, tuple[str, ...]] = (
            dict.fromkeys(scopes, ()) if feed.batch == 1 else _batches(scopes, feed.batch)
        )
        generation = 1
        while True:
            name = run.read_name(generation)
            keys = [key_of(self._account, feed, scope, window, name) for scope in batches for window in windows]
            published = self._warehouse.published_reads([key.folder for key in keys], feed.datasets)
            todo = [key for key in keys if key.folder not in published]
            if todo or not keys:
                break
            generation += 1
        if not may_stream or generation > 1:
            return [Read(feed=feed, key=key, scopes=batches[key.scope]) for key in todo]
        starts = self._stream_starts(run, feed, [key.scope for key in todo])
        reads = []
        for key in todo:
            revision, since = starts[key.scope]
            if since > run.window.start:
                reads.append(Read(feed=feed, key=key))
            else:
                reads.append(Read(feed=feed, key=key, stream=True, cursor=revision, since=since))
        return reads

    def _stream_starts(self, run: Run, feed: Feed, scopes: Sequence[str]) -> dict[str, tuple[str | None, dt.datetime]]:
        """Where each vehicle's stream goes on, and since when it leaves nothing out.

        A new stream begins with the oldest day known of the vehicle: what was received about days loaded by window since
        they were read comes along, and from then on by revision.
        """
        table = feed.datasets[0]
        cursors = self._warehouse.cursors(self._account.name, table, scopes)
        new = [scope for scope in scopes if scope not in cursors]
        past = Window(_EPOCH, run.window.end)
        known = self._warehouse.covered(self._account.name, table, new, past) if new else {}
        starts: dict[str, tuple[str | None, dt.datetime]] = {}
        for scope in scopes:
            if scope in cursors:
                revision, since = cursors[scope]
                starts[scope] = (revision, since or run.window.start)
            else:
                proven = [item.window.start for item in known.get(scope, ()) if item.state.is_proven]
                starts[scope] = (None, min([run.window.start, *proven]))
        return starts

    def _windows(self, run: Run, feed: Feed) -> list[Window | None]:
        if feed.kind is Kind.SNAPSHOT:
            return [None]
        window = run.window
        if feed.kind is Kind.REVISION:
            return [window] if run.mode == "stream" else list(window.split(7))
        # Reports are computed from the window asked for: half a day would cut its trips and replace the whole day's.
        window = window.whole_days()
        if run.mode == "stream":
            # A scheduled run reads the days before again: reports change when positions arrive late.
            window = window.widen(before=self._account.look_back_days * DAY)
        return list(window.split(feed.max_days or 7))


def _batches(scopes: Sequence[str], size: int) -> dict[str, tuple[str, ...]]:
    """Vehicles to ask about at once, by a name that is the same for the same vehicles."""
    batches = {}
    for start in range(0, len(scopes), size):
        batch = tuple(scopes[start : start + size])
        batches[f"batch-{hashlib.sha256(json.dumps(batch).encode()).hexdigest()[:16]}"] = batch
    return batches
