"""``fleetlake rebuild --yes --json`` in a process that kills itself at a named moment.

usage: rebuild_process.py <moment>: "never", "after N entries", or one of ``MOMENTS``.
"""

from __future__ import annotations

import os
import re
import signal
import sys

from fleetlake.cli import main
from fleetlake.pipeline import rebuild, scratch
from fleetlake.warehouse.exchange import Exchange

MOMENTS = (
    "a batch is replayed and not yet marked as done",
    "the tables are compared, the lake is as it was",
    "the lake is new, the warehouse is as it was",
    "both are new, the place to work in is still there",
)


def die_after(owner, name, calls=1):
    """Replace a function by one that kills this process when it has done its work for the n-th time."""
    own = getattr(owner, name)
    done = [0]

    def wrapped(*args, **options):
        result = own(*args, **options)
        done[0] += 1
        if done[0] == calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(owner.__dict__.get(name), staticmethod) else wrapped)


def die_before(owner, name):
    setattr(owner, name, lambda *_args, **_options: os.kill(os.getpid(), signal.SIGKILL))


def prepare(moment):
    """Arrange the death."""
    if found := re.fullmatch(r"after (\d+) entries", moment):
        die_after(scratch.Scratch, "done", int(found[1]))
    elif moment == MOMENTS[0]:
        die_before(scratch.Scratch, "done")
    elif moment == MOMENTS[1]:
        die_after(Exchange, "clock")
    elif moment == MOMENTS[2]:
        die_after(rebuild, "replace_with", int(os.environ["REBUILD_TABLES"]))
    elif moment == MOMENTS[3]:
        die_before(scratch.Scratch, "clear")
    elif moment != "never":
        raise SystemExit(f"no moment {moment!r}")


if __name__ == "__main__":
    prepare(sys.argv[1])
    main(["rebuild", "--yes", "--json", *sys.argv[2:]])
