"""A batch that was described in the journal is made again, whatever its borders were."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import fleetlake
import msgspec
import pytest
from fleetlake.accounts import Account
from fleetlake.coverage import Interval, State
from fleetlake.errors import DataError, VendorUnavailable
from fleetlake.pipeline.batch import Batcher
from fleetlake.pipeline.entries import (
    BatchEntry,
    CoverageEntry,
    clocks_of,
    describe_batch,
    describe_coverage,
    understand,
)
from fleetlake.pipeline.extract import Read, extract
from fleetlake.pipeline.proof import Decisions
from fleetlake.pipeline.run import Run
from fleetlake.raw import Journal
from fleetlake.reading import Lane
from fleetlake.window import Window

from tests.unit.pipeline.scripted import CONTRACTS, DAY, EVENTS, NOW, ScriptedSource, event, key, page

EVENT = CONTRACTS["powunity.event"]
ACCOUNT = Account(name="north", vendor="powunity", conn_id="powunity_default")
RUN = Run(account=ACCOUNT, dag_id="d", run_id="r", window=DAY, lane=Lane.BACKFILL, partition="2026-11-20", mode="stream")
SCRIPT = {
    "1": [page(number, [event(10 * number + item) for item in range(3)], last=number == 3) for number in range(4)],
    "2": [page(0, [event(100, device=2)]), VendorUnavailable("gone", where="there", remedy="wait")],
    "3": [VendorUnavailable("gone at once")],
    "4": [page(0, [event(200, device=9)], last=True)],  # about another vehicle
    "5": [page(0, [event(300, device=5), event("x", device=5)], last=True)],
}


def split(_feed, _dataset, body, _asked):
    return msgspec.json.decode(body, type=list[msgspec.Raw])


@pytest.fixture
def journal(tmp_path):
    return Journal(str(tmp_path / "raw"))


def told(journal, batch, number=0, decisions=None):
    """The batch by way of a journal entry."""
    content = describe_batch(RUN, EVENTS, batch, decisions or Decisions(), {"device_id": [9]}, "published")
    moment = NOW + dt.timedelta(seconds=number)
    name = journal.write(EVENT.table, moment, batch.load_id, content, clock=clocks_of(batch, NOW))
    return understand(name, journal.read(name))


def shown(batch):
    """All that publishing looks at."""
    return {
        "load_id": batch.load_id,
        "rows": batch.table.to_pylist(),
        "reads": [(item.read, item.pages, str(item.error), item.may_delete, item.is_complete) for item in batch.reads],
        "tried": [item.tried_at for item in batch.reads if item.error],
        "pages": batch.pages,
        "whole": [item.read.key for item in batch.whole],
        "rejects": batch.rejects,
        "counts": (batch.rows_read, batch.outside, batch.rows_of, batch.foreign),
    }


@pytest.mark.parametrize("max_rows", [1, 4, 5, 1000])
def test_batches_are_made_again_exactly_from_what_the_journal_says(raw, journal, max_rows):
    reads = [Read(feed=EVENTS, key=key(scope)) for scope in SCRIPT]
    extracted = list(extract(raw, ScriptedSource(SCRIPT), reads))
    extracted[4].may_delete = False
    batches = list(Batcher(raw, EVENT, split, None, max_rows).batches(extracted))
    assert len(batches) > 1 or max_rows == 1000
    for number, batch in enumerate(batches):
        entry = told(journal, batch, number)
        # By its own, without those before it.
        again = Batcher(raw, EVENT, split, None).again(entry.parts(raw, EVENTS), entry.earlier_rows, entry.foreign)
        assert shown(again) == shown(batch)
        same = describe_batch(RUN, EVENTS, again, Decisions(), {"device_id": [9]}, "published")
        assert same == describe_batch(RUN, EVENTS, batch, Decisions(), {"device_id": [9]}, "published")


def test_run_decisions_and_references_come_back(raw, journal):
    reads = [Read(feed=EVENTS, key=key("1"), stream=True, cursor="c", since=NOW, scopes=("1", "7"))]
    (batch,) = Batcher(raw, EVENT, split, None).batches(list(extract_nothing(reads)))
    decisions = Decisions({("f", "1"): "implausible: half"}, frozenset({("f", "2")}))
    entry = told(journal, batch, decisions=decisions)
    assert isinstance(entry, BatchEntry)
    assert (entry.run, entry.decisions, entry.references) == (RUN, decisions, {"device_id": [9]})
    assert (entry.load_id, entry.state, entry.started_at) == (batch.load_id, "published", NOW)
    [part] = entry.parts(raw, EVENTS)
    assert part.result.read == reads[0]
    assert entry.scopes == {"1", "7"}
    assert entry.is_about(DAY)
    assert entry.is_about(Window.day("2020-01-01")), "a stream brings rows about any time before"
    assert not entry.is_about(Window.day("2026-12-24"))


def extract_nothing(reads):
    from fleetlake.pipeline.extract import Extracted

    for read in reads:
        yield Extracted(read, error=VendorUnavailable("away"))


def test_coverage_comes_back(journal):
    intervals = [
        Interval(
            account="north", dataset="powunity.trip", scope=scope, window=DAY, state=State.PREPARING, proof="job: asked",
            rows=rows, fetched_at=NOW if rows else None, run_id="r",
        )
        for scope, rows in (("1", None), ("2", 3))
    ]  # fmt: skip
    name = journal.write("powunity.trip", NOW, "coverage", describe_coverage(intervals, supersede=True))
    assert understand(name, journal.read(name)) == CoverageEntry(name, intervals, supersede=True)


@pytest.mark.parametrize("damage", [{"kind": "dream"}, {"kind": "batch"}, {"kind": "coverage", "intervals": [{}]}, {}])
def test_a_damaged_entry_is_distrusted(journal, damage):
    name = journal.write("powunity.trip", NOW, "x", damage)
    with pytest.raises(DataError, match="journal entry is"):
        understand(name, journal.read(name))


def test_nothing_is_recorded_about_coverage_past_the_journal():
    """`Parts.record_coverage` writes the entry first; the warehouse's own method is for its tests."""
    package = Path(fleetlake.__file__).parent
    found = [
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.parent.name != "warehouse" and re.search(r"warehouse\.record_coverage\(", path.read_text())
    ]
    assert found == []
