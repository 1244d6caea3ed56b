"""A build in a process of its own, slow enough to be killed between two batches: says how far it is, then waits for a line."""

from __future__ import annotations

import sys
from pathlib import Path

from fleetlake import fleet
from fleetlake.settings import Settings


def main(url: str, include: str, batch: str) -> None:
    settings = Settings(home=Path(include).parent, include=Path(include), warehouse_url=url, lake_url="", raw_url="")

    def wait(done: int, left: int) -> None:
        print(done, left, flush=True)
        sys.stdin.readline()

    fleet.build(settings, batch=int(batch), on_progress=wait)


if __name__ == "__main__":
    main(*sys.argv[1:])
