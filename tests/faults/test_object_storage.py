"""Raw store and lake on a real S3 server: created once or not at all, seen at once, and clear when it fails."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import pytest
import s3fs
from fleetlake.contracts import load_contracts
from fleetlake.errors import ConfigError, StoreUnavailable
from fleetlake.lake import Lake
from fleetlake.pipeline.rebuild import rebuild
from fleetlake.raw import RawStore
from fleetlake.settings import Settings
from fleetlake.window import Window

from tests.faults.pages import KEY, page
from tests.warehouse.pipeline.conftest import INCLUDE, Place

DAYS = ("2026-11-09", "2026-11-10", "2026-11-11")
SECRETS = ("sEcReT", "AKIATESTSTESTSTESTST", "AKIASTRANGERSTRANGER", "a-session-token")


@pytest.fixture
def bucket(s3):
    return f"s3://{s3.make_bucket()}"


# --- the whole way --------------------------------------------------------------------------------------------------------


def test_days_go_through_raw_and_lake_in_s3_and_arrive_as_they_are(sandbox, bucket, make_database, tmp_path):
    settings = Settings(
        home=tmp_path,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=f"{bucket}/lake",
        raw_url=f"{bucket}/raw",
    )
    place = Place(sandbox, settings)
    try:
        began = time.monotonic()
        for day in DAYS:
            place.load_bikes(day)
        seconds = time.monotonic() - began
        window = Window(Window.day(DAYS[0]).start, Window.day(DAYS[-1]).end)
        tables = [f"powunity.{name}" for name in ("position", "event", "trip", "stop", "summary")]
        rows = {table: place.assert_true(table, window) for table in tables}
        assert all(rows.values())
        before = {table: place.all_rows(table) for table in tables}
        assert all(lake == warehouse for warehouse, lake in before.values())

        requests = place.requests("powunity")
        place.load_bikes(DAYS[0])  # somebody wants that day once more: read anew, the same
        assert place.requests("powunity") > requests
        assert {table: place.all_rows(table) for table in tables} == before, "nothing changes, provenance included"

        pages = list(RawStore(settings.raw_url).iterate("powunity", "north"))
        assert {page.path for page in pages} >= {
            row["raw_page"] for table in tables for row in place.lake.rows(place.contracts[table])
        }
        assert not (tmp_path / "raw").exists()
        assert not (tmp_path / "lake").exists()
        print(f"\n{sum(rows.values())} rows of {len(DAYS)} days through S3 in {seconds:.1f} s, {len(pages)} pages")
    finally:
        place.warehouse.close()


def test_lake_and_warehouse_are_made_anew_from_raw_in_s3(sandbox, s3, bucket, make_database, tmp_path):
    settings = Settings(
        home=tmp_path,
        include=INCLUDE,
        warehouse_url=make_database(migrated=True),
        lake_url=f"{bucket}/lake",
        raw_url=f"{bucket}/raw",
    )
    place = Place(sandbox, settings)
    place.load_bikes(DAYS[0])
    tables = [name for name, contract in place.contracts.items() if contract.vendor == "powunity"]
    known = {table: place.all_rows(table) for table in tables}
    requests = place.requests("powunity")
    place.warehouse.close()
    for lake in ("kept", "lost too"):
        if lake == "lost too":
            s3fs.S3FileSystem(skip_instance_cache=True).rm(f"{bucket}/lake", recursive=True)
        bare = replace(settings, warehouse_url=make_database())
        report = rebuild(bare)
        assert all(table.parts == 0 for table in report.lake.values()) == (lake == "kept")
        made = Place(sandbox, bare)
        assert {table: made.all_rows(table) for table in tables} == known, lake
        assert made.requests("powunity") == requests
        made.warehouse.close()


# --- exclusive creation ---------------------------------------------------------------------------------------------------

RACER = """
import sys
from pages import KEY, page
from fleetlake.raw import RawStore
store, name = RawStore(sys.argv[1]), sys.argv[2].encode()
store.pages(KEY)
print("ready", flush=True)
for number in range(10):
    sys.stdin.readline()  # all at once, page by page
    ref = store.commit(KEY, number, page(name * 3000, f"{sys.argv[2]}{number}"), None)
    print(ref.cursor_out, ref.sha256, flush=True)
"""


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_of_eight_processes_that_create_the_same_pages_one_wins_each_and_all_read_the_winner(kind, request, tmp_path):
    url = str(tmp_path) if kind == "folder" else request.getfixturevalue("bucket") + "/raw"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, url, name],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in "abcdefgh"
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    told = []
    for _ in range(10):
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        answers = {process.stdout.readline().strip() for process in processes}
        assert len(answers) == 1, "every process holds the same winner"
        told += answers
    for process in processes:
        process.communicate(timeout=60)
    assert [process.returncode for process in processes] == [0] * 8
    store = RawStore(url)
    assert [f"{ref.cursor_out} {ref.sha256}" for ref in store.pages(KEY)] == told
    winners = {line[0] for line in told}
    assert len({store.body(ref)[:1] for ref in store.pages(KEY)}) == len(winners)
    print(f"\n{kind}: 8 processes, 10 pages, {len(winners)} of them won some")


def test_a_store_that_overwrites_what_should_be_created_is_refused_before_the_first_page(s3_server, monkeypatch):
    server = type(s3_server)("--overwrites")
    try:
        for name, value in server.env.items():
            monkeypatch.setenv(name, value)
        url = f"s3://{server.make_bucket()}/raw"
        with pytest.raises(ConfigError, match=r"two workers could overwrite.*conditional writes"):
            RawStore(url).commit(KEY, 0, page(b"x"), None)
        assert RawStore(url).pages(KEY) == []
    finally:
        server.stop()


# --- what others have written is seen -------------------------------------------------------------------------------------


def test_what_another_has_committed_is_seen_at_once(bucket):
    one, other = RawStore(f"{bucket}/raw"), RawStore(f"{bucket}/raw")
    assert one.pages(KEY) == []
    assert list(one.iterate("powunity")) == []
    for number in range(3):
        ref = other.commit(KEY, number, page(b"%d" % number), None)
        assert one.pages(KEY)[-1] == ref
        assert one.resume_point(KEY) == (number + 1, ref)
        assert list(one.iterate("powunity"))[-1] == ref


def test_a_store_that_was_used_before_a_fork_works_in_the_child_and_in_the_parent(bucket):
    code = """
import os, sys
from fleetlake.raw import RawStore
from pages import KEY, page
store = RawStore(sys.argv[1])
store.commit(KEY, 0, page(b"parent"), None)
child = os.fork()
if child == 0:
    store.commit(KEY, 1, page(b"child"), None)
    os._exit(len(store.pages(KEY)))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
store.commit(KEY, 2, page(b"parent"), None)
"""
    subprocess.run([sys.executable, "-c", code, f"{bucket}/raw"], cwd=Path(__file__).parent, check=True, timeout=60)
    store = RawStore(f"{bucket}/raw")
    assert [store.body(ref) for ref in store.pages(KEY)] == [b"parent", b"child", b"parent"]


# --- when it fails --------------------------------------------------------------------------------------------------------


def failures(url):
    """What raw store and lake say about a place, with all that a log would show of it."""
    contract = load_contracts(INCLUDE)["powunity.trip"]
    told = []
    for ask in (
        lambda: RawStore(f"{url}/raw").commit(KEY, 0, page(b"x"), None),
        lambda: list(Lake(f"{url}/lake").rows(contract)),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        shown = "".join(traceback.format_exception(caught.value))
        assert not any(secret in shown for secret in SECRETS), shown
        told.append(str(caught.value))
    return told


def test_refused_credentials_are_named_and_never_shown(s3, bucket, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIASTRANGERSTRANGER")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "a-session-token")
    for told in failures(bucket):
        assert "InvalidAccessKeyId" in told
        assert "check AWS_ACCESS_KEY_ID" in told


def test_a_bucket_that_is_not_there_is_named_and_not_made(s3):
    for told in failures("s3://no-such-bucket-here"):
        assert "create the bucket, or mend FLEETLAKE_" in told


def test_a_store_that_does_not_answer_is_unavailable_within_a_minute(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    for told in failures("s3://bucket"):
        assert "AWS_ENDPOINT_URL" in told
    assert time.monotonic() - began < 60


def test_a_store_that_pauses_is_waited_for(s3, bucket):
    store = RawStore(f"{bucket}/raw")
    store.commit(KEY, 0, page(b"before"), None)
    s3.process.send_signal(signal.SIGSTOP)
    timer = threading.Timer(3, s3.process.send_signal, [signal.SIGCONT])
    timer.start()
    try:
        assert store.commit(KEY, 1, page(b"after"), None).seq == 1
    finally:
        timer.cancel()
        s3.process.send_signal(signal.SIGCONT)
    assert [store.body(ref) for ref in store.pages(KEY)] == [b"before", b"after"]
