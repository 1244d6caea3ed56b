"""What the journal says about a publication: from a batch to plain JSON, and back to the reads it was made of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fleetlake import errors
from fleetlake.accounts import Account
from fleetlake.coverage import Interval, State
from fleetlake.errors import DataError, FleetlakeError, OutOfRetention
from fleetlake.pipeline.batch import Part
from fleetlake.pipeline.extract import Extracted, Read
from fleetlake.pipeline.proof import Decisions
from fleetlake.pipeline.run import Run
from fleetlake.raw import EntryName, RawStore, ReadKey
from fleetlake.reading import Lane
from fleetlake.window import Window

if TYPE_CHECKING:
    from fleetlake.pipeline.batch import Batch
    from fleetlake.reading import Feed

BATCH, COVERAGE, DECISION = "batch", "coverage", "decision"
"""Kinds of entries."""

References = Mapping[str, Sequence[Any]]
"""By column, values that should name a row of another table and named none when the batch was judged."""


@dataclass(frozen=True)
class BatchEntry:
    """A batch that was published or held, as the journal tells of it.

    Attributes:
        name: place and time of the entry.
        load_id: load it was published as.
        contract_version: contract it was read with.
        state: ``published`` or ``held``.
        feed: feed of its pages.
        run: the run; of its account only name and vendor are known.
        started_at: when work on it began, UTC.
        decisions: what was believed of it.
        references: what was unknown then.
        content: the entry as it stands, for what only this module reads.
    """

    name: EntryName
    load_id: str
    contract_version: str
    state: str
    feed: str
    run: Run
    started_at: dt.datetime
    decisions: Decisions
    references: References
    content: Mapping[str, Any]

    @property
    def again(self) -> EntryName | None:
        """The entry that it published once more, under another reading than the first time."""
        return EntryName.parse(self.content["again"]) if "again" in self.content else None

    @property
    def scopes(self) -> set[str]:
        """Vehicles, devices or ``FLEET`` it is about."""
        return {scope for item in self.content["reads"] for scope in (item.get("scopes") or [item["scope"]])}

    def is_about(self, window: Window) -> bool:
        """One of its reads may hold rows of a window: asked for a part of it, without a window, or a stream that ends later."""
        for item in self.content["reads"]:
            asked = Window.parse(*item["window"]) if item.get("window") else None
            if asked is None or (asked.end > window.start and (asked.start < window.end or item.get("stream", False))):
                return True
        return False

    @property
    def pages_of_reads(self) -> dict[str, int]:
        """Folders of its reads, each with the number of pages up to where this batch goes."""
        return {self._key(item).folder: item["pages"][1] for item in self.content["reads"]}

    def parts(self, raw: RawStore, feed: Feed) -> list[Part]:
        """What the batch was made of, found in the raw store.

        Raises:
            DataError: a page is missing or damaged.
        """
        return [self._part(raw, feed, number, item) for number, item in enumerate(self.content["reads"])]

    @property
    def earlier_rows(self) -> dict[tuple[str, str], int]:
        """``Batch.earlier_rows``."""
        return {(folder, scope): count for folder, scope, count in self.content.get("earlier_rows", ())}

    @property
    def foreign(self) -> list[str]:
        """``Batch.foreign``."""
        return list(self.content.get("foreign", ()))

    def _part(self, raw: RawStore, feed: Feed, number: int, item: Mapping[str, Any]) -> Part:
        key = self._key(item)
        read = Read(
            feed=feed,
            key=key,
            stream=item.get("stream", False),
            cursor=item.get("cursor"),
            since=_moment(item.get("since")),
            scopes=tuple(item.get("scopes", ())),
        )
        start, stop = item["pages"]
        # Of a read that goes on in another batch only the pages of this one matter.
        first = 0 if item["ends"] else start
        pages = [raw.meta(f"{key.folder}/{seq:06d}.page") for seq in range(first, stop)]
        tried_at = self.content["clock"].get("tried_at", {}).get(str(number))
        result = Extracted(
            read,
            pages,
            error=_error(item.get("error")),
            may_delete=item.get("may_delete", True),
            tried_at=_moment(tried_at) or self.started_at,
        )
        return Part(result, pages[start - first :], item["ends"])

    def _key(self, item: Mapping[str, Any]) -> ReadKey:
        return ReadKey(
            account=self.run.account.name,
            vendor=self.run.account.vendor,
            feed=self.feed,
            scope=item["scope"],
            window=Window.parse(*item["window"]) if item.get("window") else None,
            read=item["read"],
        )


@dataclass(frozen=True)
class CoverageEntry:
    """Coverage that was recorded without a batch.

    Attributes:
        name: place and time of the entry.
        intervals: what was recorded, all of one table.
        supersede: proofs were replaced too.
    """

    name: EntryName
    intervals: Sequence[Interval]
    supersede: bool


@dataclass(frozen=True)
class DecisionEntry:
    """What a person decided about rows in quarantine.

    Attributes:
        name: place and time of the entry.
        dropped: ids of the entries of ``ops.quarantine`` that were given up, all of one table.
        reason, by: why, and who.
    """

    name: EntryName
    dropped: Sequence[str]
    reason: str
    by: str


Entry = BatchEntry | CoverageEntry | DecisionEntry


def describe_batch(
    run: Run, feed: Feed, batch: Batch, decisions: Decisions, references: References, state: str
) -> dict[str, Any]:
    """An entry's content about a batch: all that publishing it again needs, beside its pages."""
    return {
        "kind": BATCH,
        "state": state,
        "contract_version": batch.contract.version,
        "feed": feed.name,
        "run": {
            "account": run.account.name,
            "vendor": run.account.vendor,
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "window": _window(run.window),
            "lane": run.lane.value,
            "mode": run.mode,
            **({"partition": run.partition} if run.partition is not None else {}),
            **({"clears": run.clears} if run.clears else {}),
        },
        "reads": [_describe_part(part) for part in batch.parts],
        "earlier_rows": [[*asked, count] for asked, count in sorted(batch.earlier_rows.items())],
        "foreign": sorted(batch.foreign),
        "decisions": decisions.to_json(),
        "references": {column: list(values) for column, values in sorted(references.items())},
    }


def clocks_of(batch: Batch, started_at: dt.datetime) -> dict[str, Any]:
    """An entry's clocks about a batch."""
    tried = {str(n): part.result.tried_at.isoformat() for n, part in enumerate(batch.parts) if part.result.error is not None}
    return {"started_at": started_at.isoformat(), **({"tried_at": tried} if tried else {})}


def describe_coverage(intervals: Iterable[Interval], *, supersede: bool) -> dict[str, Any]:
    """An entry's content about coverage that is recorded without a batch."""
    return {"kind": COVERAGE, "supersede": supersede, "intervals": [_describe_interval(item) for item in intervals]}


def describe_drop(ids: Iterable[str], reason: str, by: str) -> dict[str, Any]:
    """An entry's content about rows in quarantine that a person gave up."""
    return {"kind": DECISION, "dropped": sorted(ids), "reason": reason, "by": by}


def understand(name: EntryName, content: Mapping[str, Any]) -> Entry:
    """Read an entry's content.

    Raises:
        DataError: it is damaged, or of a kind that this version does not know.
    """
    try:
        if content["kind"] == COVERAGE:
            intervals = [_interval(name.dataset, item) for item in content["intervals"]]
            return CoverageEntry(name, intervals, content["supersede"])
        if content["kind"] == DECISION:
            return DecisionEntry(name, list(content["dropped"]), content["reason"], content["by"])
        if content["kind"] == BATCH:
            return _batch_entry(name, content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(
            f"a journal entry is damaged: {type(error).__name__}: {error}",
            where=name.path,
            remedy="restore it from a backup of the raw store",
        ) from None
    raise DataError(
        f"a journal entry is of the unknown kind {content['kind']!r}", where=name.path, remedy="use a newer fleetlake"
    )


def by_dataset(intervals: Iterable[Interval]) -> Iterator[tuple[str, list[Interval]]]:
    """Intervals by table, in the order of the tables' names."""
    groups: dict[str, list[Interval]] = {}
    for item in intervals:
        groups.setdefault(item.dataset, []).append(item)
    yield from sorted(groups.items())


# --- inside -------------------------------------------------------------------------------------------------------------


def _describe_part(part: Part) -> dict[str, Any]:
    result, read = part.result, part.result.read
    start = part.pages[0].seq if part.pages else len(result.pages)
    optional = {
        "window": _window(read.window) if read.window else None,
        "scopes": list(read.scopes),
        "stream": read.stream,
        "cursor": read.cursor,
        "since": read.since.isoformat() if read.since else None,
        "error": _describe_error(result.error) if part.ends else None,
    }
    return {
        "scope": read.key.scope,
        "read": read.key.read,
        "pages": [start, start + len(part.pages)],
        "ends": part.ends,
        **({} if result.may_delete else {"may_delete": False}),
        **{name: value for name, value in optional.items() if value},
    }


def _batch_entry(name: EntryName, content: Mapping[str, Any]) -> BatchEntry:
    about = content["run"]
    vendor = about["vendor"]
    run = Run(
        account=Account(name=about["account"], vendor=vendor, conn_id=f"{vendor}_default"),
        dag_id=about["dag_id"],
        run_id=about["run_id"],
        window=Window.parse(*about["window"]),
        lane=Lane(about["lane"]),
        partition=about.get("partition"),
        mode=about["mode"],
        clears=about.get("clears", 0),
    )
    return BatchEntry(
        name=name,
        load_id=content["load_id"],
        contract_version=content["contract_version"],
        state=content["state"],
        feed=content["feed"],
        run=run,
        started_at=dt.datetime.fromisoformat(content["clock"]["started_at"]),
        decisions=Decisions.from_json(content["decisions"]),
        references=content["references"],
        content=content,
    )


def _describe_error(error: FleetlakeError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    about = {"type": type(error).__name__, "message": error.message, "where": error.where, "remedy": error.remedy}
    if isinstance(error, OutOfRetention) and error.since is not None:
        about["since"] = error.since.isoformat()
    return about


def _error(about: Mapping[str, Any] | None) -> FleetlakeError | None:
    if about is None:
        return None
    kind = getattr(errors, about["type"], FleetlakeError)
    error: FleetlakeError = kind(about["message"], where=about["where"], remedy=about["remedy"])
    if isinstance(error, OutOfRetention):
        error.since = _moment(about.get("since"))
    return error


def _describe_interval(item: Interval) -> dict[str, Any]:
    optional = {
        "rows": item.rows,
        "fetched_at": item.fetched_at.isoformat() if item.fetched_at else None,
        "load_id": item.load_id,
        "run_id": item.run_id,
    }
    return {
        "account": item.account,
        "scope": item.scope,
        "window": _window(item.window),
        "state": item.state.value,
        "proof": item.proof,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _interval(dataset: str, item: Mapping[str, Any]) -> Interval:
    return Interval(
        account=item["account"],
        dataset=dataset,
        scope=item["scope"],
        window=Window.parse(*item["window"]),
        state=State(item["state"]),
        proof=item["proof"],
        rows=item.get("rows"),
        fetched_at=_moment(item.get("fetched_at")),
        load_id=item.get("load_id"),
        run_id=item.get("run_id"),
    )


def _window(window: Window) -> list[str]:
    return [window.start.isoformat(), window.end.isoformat()]


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
