"""Data Docs: results stored by many processes at once, pages a person understands, bounded growth."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleetlake.contracts import Column
from fleetlake.errors import StoreUnavailable
from fleetlake.quality import build_docs, docs
from fleetlake.window import Window

pytestmark = pytest.mark.xdist_group("great_expectations")

SPEED = Column(
    name="speed_kmh", type="double precision", description="Speed over ground.", unit="km/h", minimum=0, maximum=250
)
LINK = Column(name="link", type="text", description="Link.", references="powunity.device.name")
NAME = Column(name="name", type="text", description="Name.", pattern="^[a-z]*$", severity="warning")


@pytest.fixture
def store(tmp_path: Path, make_contract: Any, make_batch: Any, judge: Any) -> Callable[..., Path]:
    """Audit a small batch and store its result; gives the folder of the Data Docs."""
    contract = make_contract(SPEED, NAME, LINK)

    def run(speeds: list[Any], names: list[Any], **more: Any) -> Path:
        links = more.pop("links", [None] * len(names))
        batch = make_batch(contract, speed_kmh=speeds, name=names, link=links)
        judge(contract, batch, docs_dir=tmp_path, **{"known_values": {"link": set()}, **more})
        return tmp_path

    return run


def pages(folder: Path) -> list[Path]:
    return sorted((folder / "pages").rglob("*.html"))


def test_page_tells_what_batch_it_is_about_and_why_rows_were_set_aside(store: Any) -> None:
    folder = store([10.0, 412.5, None], ["a", "b", "c"], load_id="load-7")
    assert build_docs(folder) == folder / "index.html"
    (page,) = pages(folder)
    text = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", page.read_text(), flags=re.DOTALL))
    assert "powunity.trip · north · 2026-11-20 rejected" in text
    assert "speed_kmh is 412.5 km/h; allowed: 0 to 250 km/h" in text
    assert "speed_kmh is 0 to 250 km/h. (error)" in text
    assert "1 unexpected values found. ≈33.33% of 3 total rows." in text
    assert "load-7" in text
    assert "One row per trip." in text


def test_index_links_every_page_with_its_state(store: Any) -> None:
    store([1.0], ["a"], load_id="fine")
    store([1.0], ["A"], load_id="odd", window=Window.day("2026-11-21"))
    store([1.0, 900.0], ["a", "b"], load_id="bad", window=Window.parse("2026-11-20", "2026-11-23"))
    folder = store([1.0], ["a"], load_id="today", window=None)
    index = build_docs(folder).read_text()
    links = re.findall(r'href="(pages/[^"]+)"', index)
    assert len(links) == 4
    assert all((folder / link).is_file() for link in links)
    states = re.findall(r'class="state (\w+)">\w+</span></td>', index)
    assert sorted(states) == ["passed", "passed", "rejected", "warning"]
    assert "2026-11-20 to 2026-11-22" in index
    for page in pages(folder):
        (home,) = re.findall(r'href="([./]+index.html)"', page.read_text())
        assert (page.parent / home).resolve() == folder / "index.html"


def test_pages_need_no_network_and_run_no_script(store: Any) -> None:
    evil = "<script>alert(1)</script>"
    folder = store([1.0, None], [evil, "a"], account="<b>north</b>", load_id=evil, links=[evil, None])
    build_docs(folder)
    for page in [folder / "index.html", *pages(folder)]:
        text = page.read_text()
        assert not re.search(r"<script|<link|<img|<b>north|src=", text)
        assert not re.search(r"(href|url)\W+https?:", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in pages(folder)[0].read_text()


def test_held_batch_says_so_and_why(make_contract: Any, make_batch: Any, judge: Any, tmp_path: Path) -> None:
    contract = make_contract(SPEED)
    import pyarrow as pa

    broken = make_batch(contract, id=[1]).append_column("speed_kmh", pa.array(["fast"]))
    assert judge(contract, broken, docs_dir=tmp_path).held
    build_docs(tmp_path)
    (page,) = pages(tmp_path)
    assert "Held, nothing is published" in page.read_text()
    assert "speed_kmh is text, not double precision" in page.read_text()
    assert "Traceback" not in page.read_text()
    assert "site-packages" not in next((tmp_path / "results").rglob("*.json")).read_text()


def test_auditing_the_same_batch_again_replaces_its_result(store: Any) -> None:
    store([1.0], ["a"])
    folder = store([999.0], ["a"])
    build_docs(folder)
    assert len(pages(folder)) == 1
    assert "999.0" in pages(folder)[0].read_text()


def test_second_build_renders_only_what_is_new(store: Any) -> None:
    folder = store([1.0], ["a"], load_id="one")
    build_docs(folder)
    (first,) = pages(folder)
    before = first.stat().st_mtime_ns
    store([2.0], ["a"], load_id="two")
    build_docs(folder)
    assert len(pages(folder)) == 2
    assert first.stat().st_mtime_ns == before


def test_old_days_and_batches_are_removed_with_their_pages(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docs, "KEEP_DAYS", 2)
    monkeypatch.setattr(docs, "KEEP_BATCHES", 2)
    for day in ("2026-11-18", "2026-11-19", "2026-11-20"):
        folder = store([1.0], ["a"], load_id="x", window=Window.day(day))
    build_docs(folder)
    for number, load in enumerate(("y", "z")):
        path = folder / "results/powunity.trip/north" / f"2026-11-20~{load}.json"
        store([1.0], ["a"], load_id=load, window=Window.day("2026-11-20"))
        os.utime(path, (time.time() + 10 + number,) * 2)
    build_docs(folder)
    left = [page.stem for page in pages(folder)]
    assert left == ["2026-11-19~x", "2026-11-20~y", "2026-11-20~z"]
    assert sorted(path.stem for path in (folder / "results").rglob("*.json")) == left


def test_damaged_result_is_left_out_and_told(store: Any, caplog: pytest.LogCaptureFixture) -> None:
    folder = store([1.0], ["a"])
    (folder / "results/powunity.trip/north/2026-11-19~x.json").write_text('{"title": ')
    build_docs(folder)
    assert len(pages(folder)) == 1
    assert "2026-11-19~x.json is damaged" in caplog.text


def test_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailable, match="cannot write Data Docs"):
        build_docs(tmp_path / "file")


def test_no_result_yet_gives_a_page_that_says_so(tmp_path: Path) -> None:
    assert "No batch has been checked yet" in build_docs(tmp_path / "new").read_text()


def test_result_stays_small_whatever_the_batch(make_contract: Any, make_batch: Any, judge: Any, tmp_path: Path) -> None:
    contract = make_contract(
        SPEED,
        Column(name="device", type="bigint", description="Device.", references="powunity.device.device_id"),
    )
    rows = 3000
    batch = make_batch(contract, speed_kmh=[-1.0 * i for i in range(1, rows + 1)], device=range(rows))
    judge(contract, batch, known_values={"device": set()}, docs_dir=tmp_path)
    (stored,) = (tmp_path / "results").rglob("*.json")
    assert stored.stat().st_size < 40_000
    speed = next(
        item
        for item in json.loads(stored.read_text())["result"]["results"]
        if item["expectation_config"]["meta"]["check"] == "range"
    )
    assert speed["result"]["unexpected_count"] == rows


def test_pages_can_be_built_by_a_process_that_audited_nothing(store: Any) -> None:
    folder = store([1.0], ["a"])
    code = f"from fleetlake.quality import build_docs; from pathlib import Path; build_docs(Path({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert len(pages(folder)) == 1


def _store_many(folder: str, worker: int, template: dict[str, Any]) -> None:
    for turn in range(15):
        facts = {**template, "load_id": f"load-{turn % 5}", "rows": worker * 1000 + turn}
        docs.store_result(Path(folder), window=Window.day("2026-11-20"), results=[], **facts)
        if turn % 5 == 4:
            docs.build_docs(Path(folder))


def test_many_processes_store_and_build_at_once(store: Any) -> None:
    folder = store([1.0], ["a"], load_id="seed")
    build_docs(folder)  # loads the renderers, which the children inherit
    template = {
        "dataset": "powunity.trip", "account": "south", "description": "", "rejected_rows": 0, "reasons": [], "held": "", "warnings": 0,
    }  # fmt: skip
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_store_many, args=(str(folder), number, template)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    build_docs(folder)
    stored = sorted((folder / "results/powunity.trip/south").iterdir())
    assert [path.name for path in stored] == [f"2026-11-20~load-{number}.json" for number in range(5)]
    assert all(json.loads(path.read_text())["account"] == "south" for path in stored)
    assert len(pages(folder)) == 6
    assert not list(folder.rglob(".*"))
