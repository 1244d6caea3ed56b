"""Raw pages: exact, exclusive, whole, and readable without us."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from fleetlake.errors import ConfigError, DataError, StoreUnavailable
from fleetlake.raw import Journal, PageRef, RawStore, ReadKey
from fleetlake.raw.keys import window_name
from fleetlake.reading import Page
from fleetlake.window import Window
from hypothesis import given
from hypothesis import strategies as st

DAY = Window.day("2026-01-05")
KEY = ReadKey("north", "powunity", "trips", "17", DAY, "r1")


def page(body: bytes = b'[{"a":1}]', **changes: object) -> Page:
    fields: dict[str, object] = {
        "body": body,
        "request": "GET /api/reports/trips?deviceId=17",
        "status": 200,
        "content_type": "application/json",
        "fetched_at": dt.datetime(2026, 1, 6, 1, 2, 3, 4, tzinfo=dt.UTC),
        "rows": 1,
        **changes,
    }
    return Page(**fields)  # type: ignore[arg-type]


@pytest.fixture(params=["folder", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RawStore:
    if request.param == "s3":
        return RawStore(f"s3://{request.getfixturevalue('s3').make_bucket()}/raw")
    return RawStore(str(tmp_path) if request.param == "folder" else f"memory://raw-{uuid.uuid4().hex}")


def test_a_page_comes_back_byte_for_byte_with_all_that_is_known_about_it(store: RawStore) -> None:
    body = bytes(range(256)) * 50 + b"\n{}\n"
    ref = store.commit(KEY, 0, page(body, cursor="c1", is_last=False, rows=7, status=206), cursor_in=None)
    assert ref.path == "powunity/north/trips/2026-01-05/17/r1/000000.page"
    assert store.body(ref) == store.body(ref.path) == body
    assert store.meta(ref.path) == ref == store.pages(KEY)[0]
    assert (ref.cursor_in, ref.cursor_out, ref.is_last, ref.rows, ref.status) == (None, "c1", False, 7, 206)
    assert (ref.account, ref.feed, ref.scope, ref.size) == ("north", "trips", "17", len(body))


def test_an_empty_body_is_a_page_too(store: RawStore) -> None:
    assert store.body(store.commit(KEY, 0, page(b"", status=204), None)) == b""


def test_the_second_committer_of_a_number_adopts_the_first_ones_page(store: RawStore) -> None:
    first = store.commit(KEY, 0, page(b"first", cursor="a"), None)
    second = store.commit(KEY, 0, page(b"second", cursor="b"), None)
    assert second == first
    assert store.body(second) == b"first"


def test_of_many_committers_at_once_exactly_one_wins(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    refs: list[PageRef] = []
    barrier = threading.Barrier(8)

    def commit(number: int) -> None:
        barrier.wait()
        refs.append(store.commit(KEY, 0, page(f"{number}".encode() * 1000), None))

    threads = [threading.Thread(target=commit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refs) == 8
    assert len(set(refs)) == 1
    assert [path.name for path in (tmp_path / KEY.folder).iterdir()] == ["000000.page"], "no drafts are left"


def test_a_gap_ends_the_list(store: RawStore) -> None:
    for number in (0, 1, 3):
        store.commit(KEY, number, page(cursor=str(number), is_last=False), None)
    assert [ref.seq for ref in store.pages(KEY)] == [0, 1]
    assert store.resume_point(KEY) == (2, store.pages(KEY)[1])
    assert store.resume_point(dataclasses.replace(KEY, read="other")) == (0, None)
    assert store.pages(dataclasses.replace(KEY, read="other")) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "head", "empty"])
def test_a_damaged_page_is_distrusted(tmp_path: Path, damage: str) -> None:
    store = RawStore(str(tmp_path))
    ref = store.commit(KEY, 0, page(os.urandom(2000)), None)
    path = tmp_path / ref.path
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-100] ^= 0xFF
    elif damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "head":
        data[:10] = b"not a head"
    else:
        data.clear()
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        store.body(ref)


def test_a_missing_page_is_named(store: RawStore) -> None:
    with pytest.raises(DataError, match=r"no such raw page.*a/b\.page"):
        store.body("a/b.page")


def test_a_page_can_be_read_without_us(tmp_path: Path) -> None:
    body = b'{"answer":42}' * 100
    ref = RawStore(str(tmp_path)).commit(KEY, 0, page(body), None)
    head, packed = (tmp_path / ref.path).read_bytes().split(b"\n", 1)
    assert json.loads(head)["request"] == "GET /api/reports/trips?deviceId=17"
    assert pa.CompressedInputStream(pa.BufferReader(packed), "zstd").read() == body


# --- names ------------------------------------------------------------------------------------------------------------

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)


@given(names, names, names, names)
def test_no_name_leaves_its_folder_or_meets_another(account: str, feed: str, scope: str, read: str) -> None:
    folder = ReadKey(account, "v", feed, scope, DAY, read).folder
    parts = folder.split("/")
    assert len(parts) == 6
    assert all(part and part[0] != "." and part.isascii() and len(part) < 250 for part in parts)
    other = ReadKey(account, "v", feed, scope + "x", DAY, read).folder
    assert other != folder


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="empty name"):
        _ = ReadKey("north", "v", "f", "", DAY, "r").folder


@pytest.mark.parametrize(
    ("window", "name"),
    [
        (None, "_all"),
        (DAY, "2026-01-05"),
        (Window.parse("2026-01-05", "2026-01-07"), "20260105T000000Z--20260107T000000Z"),
        (Window.parse("2026-01-05T06:00", "2026-01-05T07:00:00.5"), "20260105T060000Z--20260105T070000.500000Z"),
    ],
)
def test_window_names(window: Window | None, name: str) -> None:
    assert window_name(window) == name


# --- walking ------------------------------------------------------------------------------------------------------------


def test_walking_finds_every_page_and_narrows(store: RawStore) -> None:
    refs = []
    for account in ("north", "south"):
        for feed in ("trips", "stops"):
            for number in range(2):
                key = dataclasses.replace(KEY, account=account, feed=feed)
                refs.append(store.commit(key, number, page(is_last=number == 1), None))
    Journal(store.url).write("powunity.trip", dt.datetime(2026, 1, 6, tzinfo=dt.UTC), "load", {})
    assert sorted(store.iterate(), key=lambda ref: ref.path) == sorted(refs, key=lambda ref: ref.path)
    assert [ref.key.account for ref in store.iterate("powunity", "south", "trips")] == ["south", "south"]
    assert len(list(store.iterate(feed="stops", window="2026-01-05"))) == 4
    assert list(store.iterate("rcs")) == []


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "powunity").write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable, match="raw store fails"):
        RawStore(str(tmp_path)).commit(KEY, 0, page(), None)


DISK_FULL = """
import os, resource, signal, sys
from test_store import KEY, page
from fleetlake.errors import StoreUnavailable
from fleetlake.raw import RawStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
store = RawStore(sys.argv[1])
try:
    store.commit(KEY, 0, page(os.urandom(5000)), None)
except StoreUnavailable as error:
    print(error)
store.commit(KEY, 0, page(b"small"), None)
"""


def test_a_page_that_does_not_fit_on_the_disk_leaves_nothing_and_the_store_is_unavailable(tmp_path: Path) -> None:
    told = python(DISK_FULL, tmp_path)
    assert "the raw store fails: File too large" in told
    assert "check free space" in told
    assert RawStore(str(tmp_path)).body(f"{KEY.folder}/000000.page") == b"small"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["000000.page"]


def python(code: str, *arguments: object) -> str:
    """Run a program beside this file; what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


WITHOUT_LINKS = """
import errno, os, sys
from test_store import KEY, page
from fleetlake.raw import RawStore

def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")

os.link = no_links
store, name = RawStore(sys.argv[1]), sys.argv[2].encode()
sys.stdin.readline()
for number in range(50):
    store.commit(KEY, number, page(name * 1000, cursor=str(number), is_last=False), None)
"""


def test_on_a_file_system_without_hard_links_a_page_is_created_once_too(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WITHOUT_LINKS, str(tmp_path), name], cwd=Path(__file__).parent, stdin=subprocess.PIPE
        )
        for name in "abcd"
    ]
    first = tmp_path / KEY.folder / "000000.page"
    seen: set[bytes] = set()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.close()
    while any(process.poll() is None for process in processes):
        if first.exists():
            seen.add(first.read_bytes())
        time.sleep(0.001)  # between two looks
    assert [process.wait() for process in processes] == [0, 0, 0, 0]
    assert len(seen | {first.read_bytes()}) == 1, "a page that was there has been replaced"
    store = RawStore(str(tmp_path))
    assert len({store.body(ref)[:1] for ref in store.pages(KEY)}) <= 4
    assert len(store.pages(KEY)) == 50


def test_what_killed_processes_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    drafts = tmp_path / ".drafts"
    drafts.mkdir()
    old, new = drafts / "old", drafts / "new"
    for draft in (old, new):
        draft.write_bytes(b"half a page")
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    store = RawStore(str(tmp_path))
    store.commit(KEY, 0, page(), None)
    assert [path.name for path in drafts.iterdir()] == ["new"], "what is young may still be written"
    assert list(store.iterate()) == store.pages(KEY)


def test_an_unknown_protocol_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"FLEETLAKE_RAW_URL.*fsspec"):
        RawStore("nonsense://bucket/raw")


# --- crashes ------------------------------------------------------------------------------------------------------------

WRITER = """
import datetime as dt, os, sys
from fleetlake.raw import RawStore, ReadKey
from fleetlake.reading import Page
from fleetlake.window import Window
store = RawStore(sys.argv[1])
key = ReadKey("north", "powunity", "trips", "17", Window.day("2026-01-05"), "r1")
for number in range(len(store.pages(key)), 100000):
    body = b"%d:" % number + os.urandom(200000)
    store.commit(key, number, Page(body=body, request="GET /", status=200, content_type="", rows=1, is_last=False,
        fetched_at=dt.datetime.now(dt.UTC), cursor=str(number)), str(number - 1))
    print(number, flush=True)
"""


def test_killed_while_committing_every_page_is_whole_and_the_next_goes_on(tmp_path: Path) -> None:
    store = RawStore(str(tmp_path))
    for delay in (0.0, 0.013, 0.031):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)  # anywhere within a commit
        process.kill()
        reported = [int(line) for line in process.communicate()[0].split()]
        refs = store.pages(KEY)
        assert len(refs) > max(reported, default=0), "what was reported as committed is there"
        for ref in refs:
            assert store.body(ref).startswith(b"%d:" % ref.seq)
            assert ref.cursor_out == str(ref.seq)
