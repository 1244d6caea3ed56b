"""What a task has to read: which windows of which vehicles, from where on, and what is done already."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from fleetlake.pipeline.extract import Read
from fleetlake.pipeline.lateness import SWEEP_DAYS, LookBackBook, Plan, stretches
from fleetlake.pipeline.run import Run
from fleetlake.raw import ReadKey
from fleetlake.reading import Feed, Kind
from fleetlake.window import DAY, Window

if TYPE_CHECKING:
    from fleetlake.accounts import Account
    from fleetlake.warehouse import ReadEnd, Warehouse

log = logging.getLogger(__name__)

Work = Sequence[tuple[Feed, Sequence[str]]]
"""What a task reads: feeds, each with what to read of it."""

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
        self._book = LookBackBook(warehouse, account.name, account.look_back_max_days)

    def rounds(self, run: Run, feed: Feed, scopes: Sequence[str], task: Work = ()) -> Iterator[list[Read]]:
        """What a task has to read of one feed, in rounds: what one round brings may show that more is to be read.

        The next round is asked for when the one before is published. When the last one is, the run's look-back is settled.

        A retry reads what is not published yet: of a try that was killed after its last page was published, nothing. So does
        a run that failed and was cleared. When all of the task was over before it was cleared, published, refused or held,
        somebody asks for a repetition, and the vendor is asked anew.

        Args:
            run: the run.
            feed: one of the task's feeds.
            scopes: what to read of it.
            task: everything the task reads, each feed with its scopes; empty: this feed alone.
        """
        generation = self._generation(run, task or [(feed, scopes)])
        if self._is_learned(run, feed):
            yield from self._looking_back(run, feed, scopes, generation)
        else:
            yield self._reads(run, feed, scopes, generation)

    def _is_learned(self, run: Run, feed: Feed) -> bool:
        """The feed's look-back is learned from what was found late."""
        is_dated = feed.kind is Kind.WINDOW and run.mode == "stream" and feed.looks_back
        return is_dated and self._account.look_back_days is None

    def _reads(self, run: Run, feed: Feed, scopes: Sequence[str], generation: int) -> list[Read]:
        """What is not published yet.

        A stream cannot repeat: a repetition, a forced run and a run about days before the stream began read their window
        instead.
        """
        may_stream = feed.kind is Kind.REVISION and run.mode == "stream" and not run.force
        batches = _batched(scopes, feed.batch)
        keys = self._keys(run, feed, batches, generation)
        todo = self._unpublished(feed, [Read(feed=feed, key=key, scopes=batches[key.scope]) for key in keys])
        if not may_stream or generation > 1:
            return todo
        starts = self._stream_starts(run, feed, [read.key.scope for read in todo])
        reads = []
        for read in todo:
            revision, since = starts[read.key.scope]
            if since > run.window.start:
                reads.append(read)
            else:
                reads.append(replace(read, stream=True, cursor=revision, since=since))
        return reads

    def _keys(self, run: Run, feed: Feed, batches: Iterable[str], generation: int) -> list[ReadKey]:
        windows, name = self._windows(run, feed), run.read_name(generation)
        return [key_of(self._account, feed, scope, window, name) for scope in batches for window in windows]

    def _generation(self, run: Run, task: Work) -> int:
        """Which asking of the run this is, from 1: the newest one, or another when that was over before the run was cleared.

        It is the same for all feeds of the task: what one has left to do keeps the others from beginning anew.
        """
        learned = [item for item in task if self._is_learned(run, item[0])]
        others = [item for item in task if not self._is_learned(run, item[0])]
        newest = max(self._newest(run, others), self._book.newest(run, learned), 1)
        is_over = self._is_over(run, others, newest) and self._book.is_over(run, learned, newest)
        return newest + 1 if is_over else newest

    def _newest(self, run: Run, task: Work) -> int:
        """The newest asking of which anything is known, 0 for none."""
        generation = 0
        while any(self._ends(run, feed, scopes, generation + 1)[0] for feed, scopes in task):
            generation += 1
        return generation

    def _is_over(self, run: Run, task: Work, generation: int) -> bool:
        """All of an asking was over before the run was cleared.

        A feed of which a batch is held is over too: batches after that one cannot be published either.
        """
        for feed, scopes in task:
            ends, count = self._ends(run, feed, scopes, generation)
            is_over = sum(end.is_over for end in ends) == count or any(end.is_held for end in ends)
            if not is_over or any(end.clears == run.clears for end in ends):
                return False
        return True

    def _ends(self, run: Run, feed: Feed, scopes: Sequence[str], generation: int) -> tuple[list[ReadEnd], int]:
        """How a feed's reads have ended, and how many reads there are."""
        keys = self._keys(run, feed, _batched(scopes, feed.batch), generation)
        return list(self._warehouse.read_ends([key.folder for key in keys], feed.datasets).values()), len(keys)

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
        if run.mode == "stream" and feed.looks_back:
            # So many days as somebody has fixed, whatever is known of them.
            window = window.widen(before=(self._account.look_back_days or 0) * DAY)
        return list(window.split(feed.max_days or 7))

    # --- look-back ------------------------------------------------------------------------------------------------------

    def _looking_back(self, run: Run, feed: Feed, scopes: Sequence[str], generation: int) -> Iterator[list[Read]]:
        """The run's own days, then days before them that were proven already and may have changed since."""
        book = self._book
        own = run.window.whole_days()
        longest = feed.max_days or 7

        def made(days: Mapping[str, set[dt.datetime]], generation: int) -> list[Read]:
            by_window: dict[Window, list[str]] = defaultdict(list)
            for scope in scopes:
                for window in stretches(days[scope], longest):
                    by_window[window].append(scope)
            name = run.read_name(generation)
            return [
                Read(feed=feed, key=key_of(self._account, feed, key, window, name), scopes=members)
                for window in sorted(by_window, key=lambda item: item.end, reverse=True)
                for key, members in _batched(by_window[window], feed.batch).items()
            ]

        plan = book.plan(run, feed, scopes, generation)
        if plan.is_done:
            return
        back = _Back(book, feed, scopes, plan, own)
        first = made(back.with_own, plan.generation)
        if plan.is_new:
            while first and not self._unpublished(feed, first):
                plan = replace(plan, generation=plan.generation + 1)  # vehicles were shared out otherwise, and all are read
                first = made(back.with_own, plan.generation)
            plan = book.keep(run, feed, plan)
            back = _Back(book, feed, scopes, plan, own)
            first = made(back.with_own, plan.generation)
        log.info("%s: looks back %d days: %s", feed.name, plan.look_back.days, plan.look_back.reason)
        yield self._unpublished(feed, first)
        done = {read.key.folder: read for read in first}
        while new := [read for read in made(back.following(run), plan.generation) if read.key.folder not in done]:
            done |= {read.key.folder: read for read in new}
            yield self._unpublished(feed, new)
        missed = {scope for read in self._unpublished(feed, list(done.values())) for scope in read.all_scopes}
        is_held = any(end.is_held for end in self._warehouse.read_ends(list(done), feed.datasets).values())
        book.close(run, feed, plan, back.why, back.settled(missed), is_held=is_held)
        if back.why:
            told = ", ".join(f"{day:%Y-%m-%d} ({_told(why)})" for day, why in sorted(back.why.items()))
            log.info("%s: read again: %s", feed.name, told)
        if back.left:
            log.warning("%s: %d vehicle-days whose sweep was missed are left to the next runs", feed.name, back.left)

    def _unpublished(self, feed: Feed, reads: Sequence[Read]) -> list[Read]:
        published = self._warehouse.published_reads([read.key.folder for read in reads], feed.datasets)
        return [read for read in reads if read.key.folder not in published]


class _Back:
    """The days before a run's own that one task reads again, and why.

    Attributes:
        days: by vehicle.
        why: for each day its reasons, and for how many vehicles.
        left: vehicle-days whose sweep was missed and is left to later runs.
    """

    def __init__(self, book: LookBackBook, feed: Feed, scopes: Sequence[str], plan: Plan, own: Window) -> None:
        self._book = book
        self._feed = feed
        self._look_back = plan.look_back
        self._own = own
        self._due = own.end - plan.look_back.max_days * DAY
        """Days before this have come to their full age."""
        settled = book.settled(feed, scopes)
        self._from = {scope: settled.get(scope, self._due - DAY) for scope in scopes}
        known = Window(min([self._due - DAY, *self._from.values()]), own.start) if self._due <= own.start else None
        self._proven = book.proven(feed, scopes, known) if known else {}
        self.left = 0
        self.days: dict[str, set[dt.datetime]] = {}
        self.why: dict[dt.datetime, Counter[str]] = defaultdict(Counter)
        recent = own.start - plan.look_back.days * DAY
        self._swept: dict[str, list[dt.datetime]] = {}
        self._until: dict[str, dt.datetime] = {}
        for scope in scopes:
            due = sorted(day for day in self._proven.get(scope, ()) if self._from[scope] <= day < self._due)
            # The newest day in any case: what holds up older ones must not hold up every night's sweep.
            self._swept[scope] = due if len(due) <= SWEEP_DAYS else [*due[: SWEEP_DAYS - 1], due[-1]]
            self._until[scope] = self._due if len(due) <= SWEEP_DAYS else due[SWEEP_DAYS - 1]
            self.left += len(due) - len(self._swept[scope])
            look_back = {day for day in self._proven.get(scope, ()) if day >= recent}
            self.days[scope] = look_back.union(self._swept[scope])
            for day in self.days[scope]:
                self.why[day]["look-back" if day in look_back else "sweep"] += 1

    @property
    def with_own(self) -> dict[str, set[dt.datetime]]:
        """The days, and the run's own, by vehicle."""
        own = {day.start for day in self._own.days()}
        return {scope: own | days for scope, days in self.days.items()}

    def following(self, run: Run) -> dict[str, set[dt.datetime]]:
        """Days that are due because this run found an older day of the vehicle changed, beyond what the look-back covers."""
        days: dict[str, set[dt.datetime]] = defaultdict(set)
        for scope, oldest in self._book.found(run, self._feed, self._look_back.days).items():
            days[scope] = {day for day in self._proven.get(scope, ()) if day >= oldest} - self.days.get(scope, set())
        counted = Counter(day for found in days.values() for day in found)
        for day, count in counted.items():
            self.why[day]["late rows"] = count
        return days

    def settled(self, missed: set[str]) -> dict[str, dt.datetime]:
        """Until when vehicles are settled: never past a day that was to be swept, and was not or was not believed.

        Args:
            missed: vehicles of which a reading failed. They stay where they are; a new one begins where its sweep should have.
        """
        if self._due > self._own.start:
            return {}
        doubts = self._book.doubts(
            self._feed, list(self.days), Window(min([self._due - DAY, *self._from.values()]), self._due)
        )
        until = {}
        for scope in self.days:
            doubted = (
                day
                for day in self._swept[scope]
                if any(window.start < day + DAY and window.end > day for window in doubts.get(scope, ()))
            )
            until[scope] = self._from[scope] if scope in missed else min([self._until[scope], *doubted])
        return until


def _told(why: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in why.items())


def _batched(scopes: Sequence[str], size: int) -> Mapping[str, tuple[str, ...]]:
    """Vehicles by the name of what is asked at once; of a feed that asks one by one the names are theirs."""
    return dict.fromkeys(scopes, ()) if size == 1 else _batches(scopes, size)


def _batches(scopes: Sequence[str], size: int) -> dict[str, tuple[str, ...]]:
    """Vehicles to ask about at once, by a name that is the same for the same vehicles."""
    batches = {}
    for start in range(0, len(scopes), size):
        batch = tuple(scopes[start : start + size])
        batches[f"batch-{hashlib.sha256(json.dumps(batch).encode()).hexdigest()[:16]}"] = batch
    return batches
