"""What the steps of a task cost at the vendor, kept in ``ops.usage``."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetlake.errors import FleetlakeError, Skippable
from fleetlake.http.meter import metering
from fleetlake.window import DAY

if TYPE_CHECKING:
    from fleetlake.pipeline.extract import Extracted, Read
    from fleetlake.pipeline.run import Run
    from fleetlake.warehouse import Warehouse

log = logging.getLogger(__name__)

_INSERT = """
INSERT INTO ops.usage (account, dag_id, run_id, feed, lane, is_first, scopes, scope_days, reads, reads_done, pages, requests,
    bytes, answer_s, waited_s, total_s, backfill_rate_per_s, burst, started_at, is_scheduled)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""


@dataclass
class Step:
    """What a step did, told by whoever does it.

    Attributes:
        scopes: vehicles asked about.
        scope_days: vehicles times days; of lists the number of lists.
        reads, done: reads begun, and those that came to their end, or to a refusal.
        pages: pages that were committed, and refusals.
    """

    scopes: int = 0
    scope_days: float = 0.0
    reads: int = 0
    done: int = 0
    pages: int = 0

    def took(self, reads: Sequence[Read], extracted: Sequence[Extracted]) -> None:
        """Count what was to be read, and what came of it."""
        self.scopes = len({scope for read in reads for scope in read.all_scopes})
        self.scope_days = sum(len(read.all_scopes) * days_of(read) for read in reads)
        self.reads = len(reads)
        refused = sum(isinstance(item.error, Skippable) and not item.is_complete for item in extracted)
        self.done = sum(item.is_complete for item in extracted) + refused
        # A refusal is an answer too: a vehicle that is refused today costs as much tomorrow.
        self.pages = sum(item.fetched for item in extracted) + refused


def days_of(read: Read) -> float:
    """Days that a read is about; 1 for a list, which is about now."""
    return 1.0 if read.window is None else (read.window.end - read.window.start) / DAY


@contextlib.contextmanager
def recorded(warehouse: Warehouse, run: Run, feed: str, *, is_first: bool) -> Iterator[Step]:
    """Count what the block costs at the vendor, and keep it, also when the block fails.

    A figure that cannot be kept is a warning: nobody's data depends on it.
    """
    step = Step()
    started_at, started = dt.datetime.now(dt.UTC), time.monotonic()
    with metering() as meter:
        try:
            yield step
        finally:
            row = [
                run.account.name, run.dag_id, run.run_id, feed, run.lane.value, is_first, step.scopes, step.scope_days,
                step.reads, step.done, step.pages, meter.requests, meter.bytes, meter.answer_s, meter.waited_s,
                time.monotonic() - started, meter.backfill_rate_per_s, meter.burst, started_at, run.mode == "stream",
            ]  # fmt: skip
            if meter.requests or step.reads:
                try:
                    with warehouse.session() as connection:
                        connection.execute(_INSERT, row)
                        connection.commit()
                except FleetlakeError as error:
                    log.warning("%s: what it cost is not recorded: %s", feed, error)
