"""Play the comparison and write its page: ``python -m tools.compare``."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from .field import open_field
from .page import render
from .scenarios import SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
FIGURES = Path(__file__).with_name("figures.json")
PAGE = ROOT / "docs" / "compared-with-dlt.md"
PEER = ROOT / ".venv" / "peers" / "bin" / "python"


def main() -> int:
    """Play what is asked for; write the page when everything was played."""
    parser = argparse.ArgumentParser(prog="python -m tools.compare", description=__doc__)
    parser.add_argument("--only", choices=SCENARIOS, action="append", help="only this scenario; may be repeated")
    parser.add_argument("--without-peer", action="store_true", help="only our own side; nothing is written")
    parser.add_argument("--peer", type=Path, default=PEER, help="Python of the peer's virtual environment")
    parser.add_argument("--page", action="store_true", help="only write the page anew from the figures that are there")
    asked = parser.parse_args()
    if not asked.page:
        peer = None if asked.without_peer else str(asked.peer)
        played = play(asked.only or list(SCENARIOS), peer)
        if peer is None:
            return 0
        known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {"figures": {}}
        figures = {**known["figures"], **played}
        content = {"about": about(peer), "figures": {name: figures[name] for name in SCENARIOS if name in figures}}
        FIGURES.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    content = json.loads(FIGURES.read_text())
    PAGE.write_text(render(content["about"], [item for items in content["figures"].values() for item in items]))
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


def play(names: list[str], peer: str | None) -> dict[str, list[dict[str, object]]]:
    """Play scenarios one after the other; print each result as it comes."""
    played: dict[str, list[dict[str, object]]] = {}
    with tempfile.TemporaryDirectory(prefix="fleetlake-compare-", ignore_cleanup_errors=True) as folder:
        for name in names:
            place = Path(folder) / name
            place.mkdir()
            played[name] = []
            with open_field(place, peer) as field:
                began = time.monotonic()
                for item in SCENARIOS[name](field):
                    played[name].append(item.as_dict())
                    print(
                        f"{item.scenario:55.55s} {item.side:9s} {item.way:45.45s} lost {item.lost:4d}  wrong {item.wrong:4d}"
                        f"  stale {item.stale:3d}  twice {item.duplicated:3d}  requests {item.requests:4d}"
                        f"  exit {','.join(item.exits):16.16s} {item.note}  ({time.monotonic() - began:.0f} s)",
                        flush=True,
                    )
                    began = time.monotonic()
    return played


def about(peer: str) -> dict[str, str]:
    """What was compared, where and when."""
    ask = "import dlt, platform; print(dlt.__version__, platform.python_version())"
    version, python = subprocess.run([peer, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S607
    return {
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "dlt": version,
        "python": python,
        "commit": commit.stdout.strip() or "unknown",
        "machine": f"{os.cpu_count()} cores, {platform.system()}",
    }


if __name__ == "__main__":
    sys.exit(main())
