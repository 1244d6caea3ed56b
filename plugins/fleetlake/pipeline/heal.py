"""Self-healing: holes of the ledger become the smallest set of requests, are read, and are closed by what was read.

A hole is taken on (``ops.heal``) before anything is asked: from then on no other run asks for it, until the time that was
planned for it is over. So a run that is killed loses nothing and blocks nothing for long. Whether a hole is mended is told by
the coverage ledger alone. What stays open is tried again later, each time after twice the pause; after ``ATTEMPTS`` attempts,
or at once where no repetition can help, it is given up: a person is next. A success of its vehicle takes it up again, once.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fleetlake.coverage import State
from fleetlake.coverage.cover import common, union, without
from fleetlake.errors import BatchHeld, Fatal, FleetlakeError, RateLimited, Retriable, StoreConflict, StoreUnavailable
from fleetlake.pipeline.heal_plan import Planning, Request, proven_by, within
from fleetlake.pipeline.heal_table import HealTable, Trial
from fleetlake.pipeline.price import quota_of
from fleetlake.pipeline.run import Run
from fleetlake.pipeline.turns import in_turn, longest_ago
from fleetlake.reading import Kind, Lane
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.coverage import Interval
    from fleetlake.pipeline.parts import Parts
    from fleetlake.pipeline.vehicles import Vehicles
    from fleetlake.reading import Feed

log = logging.getLogger(__name__)

ATTEMPTS = 5
"""Attempts after which a hole is given up; so many again each time it was taken up again."""

PLANNED = dt.timedelta(minutes=45)
"""So much of the backfill lane's time one run may take."""

_LEASE = dt.timedelta(hours=3)
"""A run that has not told by then how it went is taken to be dead."""

_PAUSE = dt.timedelta(hours=1)
"""Before the second attempt; twice as long before each further one."""

_MOST_REQUESTS = 5_000
_AWAY = 2
"""Windows in a row of which no vehicle answers for the vendor's sake: it is away, the rest waits for another run."""

_HOPELESS = ("refused", "held", "out of retention")
"""Kinds of proof that no repetition changes."""


@dataclass(kw_only=True)
class Healed:
    """What an attempt came to, in pieces of holes.

    Attributes:
        mended: closed.
        waiting: tried, and tried again later.
        given_up: left to a person.
        untried: the vendor was away, or the quota used up.
    """

    mended: int = 0
    waiting: int = 0
    given_up: int = 0
    untried: int = 0

    def as_dict(self) -> dict[str, int]:
        """Plain JSON."""
        return dict(vars(self))


class Healing:
    """Self-healing of one account.

    Args:
        parts: the account's.
        vehicles: the account's.
        load: ``Pipeline.load``.
    """

    def __init__(self, parts: Parts, vehicles: Vehicles, load: Callable[..., Any]) -> None:
        self._parts = parts
        self._vehicles = vehicles
        self._load = load

    # --- the verbs ------------------------------------------------------------------------------------------------------

    def plan(self, run: Run, *, budget: int | None = None, everything: bool = False) -> list[list[Request]]:
        """Take on as many holes as the quota allows, and share out the requests that mend them.

        Args:
            run: who takes them on. Planning again for the same run gives what is left of its holes.
            budget: requests at most; default: what the backfill lane lets through in ``PLANNED``.
            everything: try what was given up, too.

        Returns:
            Requests per task, at most ``account.max_chunks`` tasks.
        """
        account = self._parts.account
        planning = Planning(self._parts, self._vehicles)
        with self._parts.warehouse.session() as connection:
            table = HealTable(connection, account.name)
            table.lock()
            table.forget_mended()
            reopened = table.reopen(self._versions, everything=everything)
            now = table.now()
            if budget is None:
                rate = quota_of(connection, account).rate_per_s
                budget = max(1, min(_MOST_REQUESTS, int(rate * PLANNED.total_seconds())))
            due = planning.due(table, run.run_id, now)
            requests, left = within(budget, planning.requests(connection, due))
            table.take(planning.pieces(due, requests, left), run.run_id, self._versions, now + _LEASE)
            connection.commit()
        log.info(
            "%s: %d holes due, %d requests planned of %d allowed, %d wait for another run, %d reopened",
            account.name,
            len(due),
            math.ceil(sum(item.pages for item in requests)),
            budget,
            len(left),
            reopened,
        )
        return planning.shared_out(requests)

    def heal(self, run: Run, requests: Iterable[Request]) -> Healed:
        """Carry out requests of this run's plan; what is mended meanwhile is not asked for.

        A vehicle that cannot be read stays open and stops no other: those that failed last are asked last.

        Raises:
            StoreUnavailable, StoreConflict, RateLimited: run the task again; it goes on where it stopped.
        """
        done = Healed()
        failed = 0
        failing: set[str] = set()
        for feed, window, scopes in in_turn(self._groups(requests), lambda group: group[2], failing):
            name = feed.name
            error: FleetlakeError | None = None
            left = self._missing(feed, scopes, window)
            if left and failed < _AWAY:
                try:
                    self._load(replace(self._alone(run), window=window), feeds=[name], scopes=left)
                    failed = 0
                except (StoreUnavailable, StoreConflict):
                    raise
                except FleetlakeError as caught:
                    log.warning("%s %s: %s", name, window, caught)
                    error = caught
                    still = self._missing(feed, left, window)
                    failing.update(still)
                    failed = failed + 1 if isinstance(caught, Retriable) and len(still) == len(left) else 0
            self._settle(run, feed, scopes, window, error, is_tried=failed < _AWAY or error is not None, done=done)
            if isinstance(error, RateLimited):
                raise error
        return done

    def close(self, run: Run, announce: Callable[[str, str], None]) -> Healed:
        """End a run: settle what no task has told about, prove what follows from what was read, tell people what is given up.

        Args:
            run: the run.
            announce: tells people: subject and message. When it fails, the alert is kept and the next call sends it.

        Raises:
            Exception: whatever ``announce`` raises; all the rest is settled then.
        """
        done = Healed()
        self._prove_reports(run)
        with self._parts.warehouse.session() as connection:
            table = HealTable(connection, self._parts.account.name)
            table.lock()
            for (dataset, scope), trials in table.trials(run_id=run.run_id).items():
                known = self._known(dataset, [scope], trials)[scope]
                for trial in trials:
                    words = "its task ended before it told how it went"
                    self._end(table, trial, known, run, Retriable(words), is_tried=True, done=done)
            if lost := table.newly_lost():
                table.raise_alert(*_told(self._parts.account.name, lost), run.dag_id, run.run_id)
            connection.commit()
        self._parts.warehouse.record_run_end(run.dag_id, run.run_id, is_complete=not (done.waiting or done.given_up))
        self._send(announce)
        return done

    # --- parts ---------------------------------------------------------------------------------------------------

    def _groups(self, requests: Iterable[Request]) -> list[tuple[Feed, Window, list[str]]]:
        """Requests about the same window together; of each feed those first whose vehicles failed longest ago."""
        feeds: dict[str, dict[Window, list[str]]] = defaultdict(lambda: defaultdict(list))
        for item in requests:
            feeds[item.feed][item.window] += item.scopes
        groups = []
        for name, windows in feeds.items():
            feed = self._parts.feed(name)
            items = longest_ago(self._parts, feed, list(windows.items()), lambda item: item[1])
            groups += [(feed, window, scopes) for window, scopes in items]
        return groups

    def _send(self, announce: Callable[[str, str], None]) -> None:
        """Send what was not sent yet, each once; only a process that dies between sending and noting it sends twice."""
        with self._parts.warehouse.session() as connection:
            table = HealTable(connection, self._parts.account.name)
            while alert := table.unsent():
                number, subject, message = alert
                announce(subject, message)
                table.sent(number)
                connection.commit()

    @property
    def _versions(self) -> dict[str, str]:
        return {table: contract.version for table, contract in self._parts.contracts.items()}

    def _alone(self, run: Run) -> Run:
        """The run as one about exactly some windows, whatever its DAG's own window is."""
        return replace(run, lane=Lane.BACKFILL, partition=None, vehicles=(), datasets=(), force=True, mode="window")

    def _missing(self, feed: Feed, scopes: Sequence[str], window: Window) -> list[str]:
        missing: set[str] = set()
        for table in proven_by(self._parts, feed):
            missing |= set(self._parts.warehouse.missing(self._parts.account.name, table, scopes, window))
        return [scope for scope in scopes if scope in missing]

    def _prove_reports(self, run: Run) -> None:
        """Windows of reports, day by day, that are proven by the details of every vehicle."""
        with self._parts.warehouse.session() as connection:
            taken = HealTable(connection, self._parts.account.name).trials(run_id=run.run_id)
        reports = [trial for trials in taken.values() for trial in trials if self._kind(trial.dataset) is Kind.REPORT]
        if not reports:
            return
        from fleetlake.pipeline.jobs import Jobs

        jobs = Jobs(self._parts, self._vehicles)
        for window in union(trial.window for trial in reports):
            for day in window.days():
                jobs.prove(replace(self._alone(run), window=day))

    def _kind(self, dataset: str) -> Kind | None:
        contract = self._parts.contracts.get(dataset)
        return contract.kind if contract else None

    # --- how it went ----------------------------------------------------------------------------------------------------

    def _known(self, dataset: str, scopes: Sequence[str], trials: Iterable[Trial]) -> dict[str, list[Interval]]:
        windows = [trial.window for trial in trials]
        span = Window(min(item.start for item in windows), max(item.end for item in windows))
        return self._parts.warehouse.covered(self._parts.account.name, dataset, scopes, span)

    def _settle(
        self,
        run: Run,
        feed: Feed,
        scopes: Sequence[str],
        window: Window,
        error: FleetlakeError | None,
        *,
        is_tried: bool,
        done: Healed,
    ) -> None:
        """Keep how it went with what this run has taken on of a window."""
        with self._parts.warehouse.session() as connection:
            table = HealTable(connection, self._parts.account.name)
            table.lock()
            taken = table.trials(run_id=run.run_id)
            for dataset in proven_by(self._parts, feed):
                own = {
                    scope: [trial for trial in taken.get((dataset, scope), ()) if common(trial.window, window)]
                    for scope in scopes
                }
                trials = [trial for found in own.values() for trial in found]
                if not trials:
                    continue
                known = self._known(dataset, scopes, trials)
                told = {scope for scope in scopes if any(item.run_id == run.run_id for item in known[scope])}
                for scope, found in own.items():
                    # Where the run has told of some vehicles alone, the error is theirs, and it did not come to the others.
                    is_asked = error is None or not told or scope in told
                    for trial in found:
                        self._end(table, trial, known[scope], run, error, is_tried=is_tried and is_asked, done=done)
            connection.commit()

    def _end(
        self,
        table: HealTable,
        trial: Trial,
        known: Sequence[Interval],
        run: Run,
        error: FleetlakeError | None,
        *,
        is_tried: bool,
        done: Healed,
    ) -> None:
        """What becomes of one piece of a hole: nothing is left of it, or it waits, or it is given up."""
        proven = [item.window for item in known if item.state.is_proven]
        open_parts = without(trial.window, proven)
        if not open_parts:
            table.replace([trial], [])
            done.mended += 1
            return
        told = [item for item in known if not item.state.is_proven and common(item.window, trial.window)]
        new = [item for item in told if item.run_id == run.run_id]
        reason = _reason(new, error) or trial.reason or "open: nothing was said about it"
        ended = replace(trial, run_id=None, reason=reason)
        if not is_tried or (not new and isinstance(error, RateLimited)):
            ended = replace(ended, attempts=trial.attempts - 1, next_at=table.now(), reason=trial.reason)
            done.untried += 1
        elif _is_hopeless(new, error):
            ended = trial.given_up(reason, table.now(), reopens=_reopens(new, error))
            done.given_up += 1
        elif trial.attempts >= ATTEMPTS * (1 + trial.reopened):
            ended = trial.given_up(reason, table.now(), reopens=not table.has_worked(trial))
            done.given_up += 1
        else:
            ended = replace(ended, next_at=table.now() + _PAUSE * 2 ** ((trial.attempts - 1) % ATTEMPTS))
            done.waiting += 1
        table.replace([trial], [replace(ended, window=part) for part in open_parts] if ended.attempts else [])


def _reason(new: Sequence[Interval], error: FleetlakeError | None) -> str:
    if new:
        return max(new, key=lambda item: item.window.start).proof
    return f"{type(error).__name__}: {error}" if error is not None else ""


def _is_hopeless(new: Sequence[Interval], error: FleetlakeError | None) -> bool:
    """No repetition can help, as far as the vendor or our own configuration has said so."""
    if new:
        return all(item.state is State.OUT_OF_RETENTION or item.proof_kind in _HOPELESS for item in new)
    return isinstance(error, Fatal | BatchHeld)


def _reopens(new: Sequence[Interval], error: FleetlakeError | None) -> bool:
    """Being able to read the vehicle again would be news: it was refused, or the configuration was wrong."""
    if new:
        return all(item.proof_kind == "refused" for item in new)
    return isinstance(error, Fatal)


def _told(account: str, lost: Sequence[tuple[str, str, int, float]]) -> tuple[str, str]:
    """Subject and message for people."""
    days = sum(item[3] for item in lost)
    subject = f"fleetlake: {account}: {days:.1f} vehicle-days cannot be mended without you"
    lines = [f"- {dataset}: {scopes} vehicles, {part:.1f} days: {reason}" for dataset, reason, scopes, part in lost]
    remedy = (
        f"fleetlake coverage --account {account} shows each with its reason; fleetlake coverage --retry tries them again."
    )
    return subject, "\n".join(["Self-healing has given up:", *lines, remedy])


__all__ = ["ATTEMPTS", "Healed", "Healing", "Request"]
