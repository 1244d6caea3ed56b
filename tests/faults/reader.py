"""Reads a feed of the sandbox, or does a whole task, each time in processes of their own that die or sleep when told to.

A fork server: everything is imported once, each try is a fork that opens its own connections. Orders come as lines of JSON
on standard input, each is answered by a line: how the tries ended, and how long they took.

    {"url", "rcs", "key", "take"}                                  read to the end; another vendor: {…, "suivideflotte"}
    {…, "die": {"at": "before" | "after", "page": 17}}             die by SIGKILL around the creation of that page
    {…, "die": {"after_s": 0.123}}                                 be killed at that moment, from the start of the process
    {…, "die": {"after_s": 0.123, "from": "request"}}              the same, from the first request to the vendor, or from
                                                                   "publishing"; "told_s" says how long it lived after it
    {…, "workers": 8}                                              so many processes at once
    {…, "sleep": {"at": "before", "page": 17}}                     be stopped (SIGSTOP) there; answered when it sleeps
    {"wake": 4711}                                                 let it go on (SIGCONT); answered when it has ended

With ``"load": {"settings", "day", "run_id", "vehicles"}`` the task is ``Pipeline.load``, publishing included; it can also be
put to sleep, and killed, at ``"publishing"``: with its pages committed and judged, before it takes the table's lock.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback
from pathlib import Path

import s3fs  # imported before the first fork: a second of work  # noqa: F401
from fleetlake.errors import FleetlakeError
from fleetlake.http.rate_gate import LocalGate
from fleetlake.pipeline.extract import Read, extract
from fleetlake.raw import RawStore, ReadKey
from fleetlake.vendors.rcs.client import RcsClient
from fleetlake.vendors.rcs.config import RcsConfig
from fleetlake.vendors.rcs.source import FEEDS, RcsSource
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
from fleetlake.vendors.suivideflotte.source import FEEDS as CAR_FEEDS
from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource
from fleetlake.window import Window


class Trap:
    """The raw store's files, whose user gets a signal around the creation of one page."""

    def __init__(self, files, at: str, page: int, number: int) -> None:
        self._files, self._at, self._name, self._signal = files, at, f"/{page:06d}.page", number

    def __getattr__(self, name: str):
        return getattr(self._files, name)

    def create(self, path: str, data: bytes) -> bool:
        """Create, with the signal before or after it."""
        is_it = path.endswith(self._name)
        if is_it and self._at == "before":
            os.kill(os.getpid(), self._signal)
        made = self._files.create(path, data)
        if is_it and self._at == "after":
            os.kill(os.getpid(), self._signal)
        return made


def set_trap(raw, order) -> None:
    """Let the process die or sleep where the order says."""
    for name, number in (("die", signal.SIGKILL), ("sleep", signal.SIGSTOP)):
        where = order.get(name) or {}
        if "page" in where:
            raw._files = Trap(raw._files, where["at"], where["page"], number)
        elif where.get("at") == "publishing":
            trap_publishing(lambda number=number: os.kill(os.getpid(), number))
    if (order.get("die") or {}).get("from") == "publishing":
        trap_publishing(lambda: os.write(order["tell"], b"x"))


def trap_publishing(act) -> None:
    """Do something before this process takes a table's lock."""
    from fleetlake.warehouse import Warehouse

    publishing = Warehouse.publishing

    def trap(*arguments, **named):
        act()
        return publishing(*arguments, **named)

    Warehouse.publishing = trap


class Source(RcsSource):
    """The vendor, with a quota that nothing waits for. It tells when it is first asked."""

    def __init__(self, order) -> None:
        config = RcsConfig(**order["rcs"], take=order["take"])
        super().__init__(RcsClient(config, gate=LocalGate(1e6, burst=1e6)))
        self._tell = order["tell"] if (order.get("die") or {}).get("from") == "request" else None

    def pages(self, *arguments, **named):
        """As it is."""
        if self._tell is not None:
            os.write(self._tell, b"x")
        return super().pages(*arguments, **named)


def source_and_feeds(order):
    """The vendor of an order."""
    if "suivideflotte" not in order:
        return Source(order), FEEDS
    config = SuiviDeFlotteConfig.from_mapping(order["suivideflotte"])
    client = SuiviDeFlotteClient(config, gate=LocalGate(1e6, burst=1e6))
    return SuiviDeFlotteSource(client, load_fieldmap(order["key"]["account"])), CAR_FEEDS


def read(order) -> int:
    """One try, from the opening of the stores to the last page."""
    raw = RawStore(order["url"])
    set_trap(raw, order)
    window = Window.parse(*order["key"].pop("window"))
    key = ReadKey(**order["key"], window=window)
    source, feeds = source_and_feeds(order)
    (result,) = extract(raw, source, [Read(feed=feeds[key.feed], key=key)])
    return 0 if result.error is None and result.is_complete else 3


def load(order) -> int:
    """One whole task."""
    from fleetlake.accounts import Account
    from fleetlake.pipeline import Pipeline, Run
    from fleetlake.reading import Lane
    from fleetlake.settings import Settings

    task = order["load"]
    places = {name: Path(value) if name in ("home", "include") else value for name, value in task["settings"].items()}
    account = Account(name="main", vendor="rcs", conn_id="rcs_default")
    run = Run(
        account=account,
        dag_id="rcs_dag",
        run_id=task["run_id"],
        window=Window.day(task["day"]),
        lane=Lane.SCHEDULED,
        partition=task["day"],
    )
    with Pipeline(Settings(**places), account, lambda: Source(order)) as pipeline:
        set_trap(pipeline._parts.raw, order)
        pipeline.load(run, feeds=["telemetry"], scopes=task["vehicles"])
    return 0


def fork(order) -> int:
    """A process that reads; its id."""
    child = os.fork()
    if child:
        return child
    code = 4
    try:
        code = load(order) if "load" in order else read(order)
    except FleetlakeError:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait_or_kill(child: int, die, told: int) -> tuple[str, float]:
    """How the process ended (``killed``, or its exit code), and how long it lived after it told that it is there.

    Args:
        child: its id.
        die: when to kill it, if at all.
        told: becomes readable when the process has come to where its time begins to run.
    """
    began = time.monotonic()
    if "after_s" in die:
        handle = os.pidfd_open(child)
        if "from" in die:
            select.select([handle, told], [], [])
            began = time.monotonic()
        ended, _, _ = select.select([handle], [], [], die["after_s"])
        os.close(handle)
        if not ended:
            os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "killed" if code == -signal.SIGKILL else str(code), time.monotonic() - began


def main() -> None:
    if "--load" in sys.argv:  # seconds of imports that a reader can do without
        import fleetlake.lake
        import fleetlake.pipeline
        import fleetlake.quality.verdict
        import fleetlake.warehouse  # noqa: F401
    for line in sys.stdin:
        order = json.loads(line)
        began = time.monotonic()
        if "wake" in order:
            os.kill(order["wake"], signal.SIGCONT)
            answer = {"ended": [wait_or_kill(order["wake"], {}, -1)[0]]}
        else:
            if "suivideflotte" in order:
                load_fieldmap(order["key"]["account"])  # kept: reading contracts takes longer than a try
            told, order["tell"] = os.pipe()
            children = [fork(order) for _ in range(order.get("workers", 1))]
            if order.get("sleep"):
                _, status = os.waitpid(children[0], os.WUNTRACED)
                answer = {"asleep": children[0]} if os.WIFSTOPPED(status) else {"ended": [str(status)]}
            else:
                ends = [wait_or_kill(child, order.get("die") or {}, told) for child in children]
                answer = {"ended": [end for end, _ in ends], "told_s": ends[-1][1]}
            os.close(told)
            os.close(order["tell"])
        print(json.dumps({**answer, "seconds": time.monotonic() - began}), flush=True)


if __name__ == "__main__":
    main()
