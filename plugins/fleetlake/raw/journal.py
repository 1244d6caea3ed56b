"""The journal: what was published, in which order, and what was decided then. With the pages it is all that stores are made of.

One small JSON file per publication, ``_journal/<vendor>/<day>/<time>-<table>-<load>-<digest>.json``. Its time is asked of
PostgreSQL while the table's publishing lock is held, so the names of a table sort in the order of its publications, whatever
host they come from. A file is created before the stores are touched, and never rewritten. When a crash falls between, the
publication is repeated under a later time; the digest, over everything but the clocks, tells that the two are one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleetlake.errors import DataError
from fleetlake.raw.files import Files, open_files
from fleetlake.raw.keys import escape

FORMAT_VERSION = 1
ROOT = "_journal"
_CLOCK = "clock"


@dataclass(frozen=True, order=True)
class EntryName:
    """What the place of an entry says about it.

    Attributes:
        moment: when it was published, by the warehouse's clock, UTC; entries of a table differ in it.
        vendor: the vendor's room.
        table: name of the table, without its schema.
        load: load id of a batch, or a word for what is no batch.
        digest: start of the digest of its content, clocks left out.
    """

    moment: dt.datetime
    vendor: str
    table: str
    load: str
    digest: str

    @property
    def dataset(self) -> str:
        """Table with its schema."""
        return f"{self.vendor}.{self.table}"

    @property
    def path(self) -> str:
        """Place below the raw store."""
        name = f"{self.moment:%H%M%S.%f}-{escape(self.table)}-{escape(self.load)}-{self.digest}.json"
        return f"{ROOT}/{escape(self.vendor)}/{self.moment:%Y-%m-%d}/{name}"

    @classmethod
    def parse(cls, path: str) -> EntryName:
        """Read a place below the raw store.

        Raises:
            DataError: it is none of an entry.
        """
        try:
            _, vendor, day, name = path.split("/")
            time, rest = name.removesuffix(".json").split("-", 1)
            table, load, digest = rest.rsplit("-", 2)
            moment = dt.datetime.strptime(f"{day} {time}", "%Y-%m-%d %H%M%S.%f").replace(tzinfo=dt.UTC)
        except ValueError:
            raise DataError("this is no place of a journal entry", where=path, remedy="take the file away") from None
        return cls(moment, vendor, table, load, digest)


class Journal:
    """The journal below one raw store.

    Args:
        url: local folder, or any fsspec URL (``s3://bucket/raw``): that of the raw store.

    Raises:
        ConfigError: the URL cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files: Files = open_files(url)

    def write(
        self,
        dataset: str,
        moment: dt.datetime,
        load: str,
        content: Mapping[str, Any],
        *,
        clock: Mapping[str, Any] | None = None,
    ) -> EntryName:
        """Add an entry; it is durable when this returns.

        Args:
            dataset: table that is about to be published, ``schema.table``.
            moment: the warehouse's clock, asked while the table's publishing lock is held.
            load: load id, or a word for what is no batch.
            content: what a repetition of the same publication says again; JSON.
            clock: times that a repetition does not say again; JSON.

        Raises:
            StoreUnavailable: the store cannot be written.
        """
        name = self.name(dataset, moment, load, content)
        head = {"version": FORMAT_VERSION, "dataset": dataset, "load_id": load}
        times = {"moment": moment.isoformat(), **(clock or {})}
        self._files.create(name.path, _text({**head, **content, _CLOCK: times}))
        return name

    @staticmethod
    def name(dataset: str, moment: dt.datetime, load: str, content: Mapping[str, Any]) -> EntryName:
        """The name that an entry gets; see ``write``."""
        vendor, _, table = dataset.partition(".")
        return EntryName(moment, vendor, table, load, digest_of(content))

    def read(self, entry: EntryName | str) -> dict[str, Any]:
        """Content of an entry, with ``dataset``, ``load_id`` and its ``clock``.

        Raises:
            DataError: there is none, or it is damaged.
        """
        path = entry if isinstance(entry, str) else entry.path
        try:
            content = json.loads(self._files.read(path))
            version = content["version"]
        except (FileNotFoundError, NotADirectoryError):
            raise DataError("there is no such journal entry", where=path, remedy="check FLEETLAKE_RAW_URL") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"a journal entry is damaged: {error}", where=path, remedy="restore it from a backup of the raw store"
            ) from None
        if version != FORMAT_VERSION:
            raise DataError(f"journal format {version}, known: {FORMAT_VERSION}", where=path, remedy="use a newer fleetlake")
        return dict(content)

    def vendors(self) -> list[str]:
        """Vendors that have entries."""
        return self._files.names(ROOT)

    def names(
        self, vendor: str, datasets: Collection[str] | None = None, since: dt.datetime | None = None
    ) -> Iterator[EntryName]:
        """Entries of a vendor in the order of publication, day by day: memory holds one day's names.

        Args:
            vendor: the vendor's room.
            datasets: only entries of these tables, ``schema.table``.
            since: only entries from this moment on.
        """
        folder = f"{ROOT}/{escape(vendor)}"
        for day in self._files.names(folder):
            if since is not None and day < f"{since:%Y-%m-%d}":
                continue
            for name in self._files.names(f"{folder}/{day}"):
                entry = EntryName.parse(f"{folder}/{day}/{name}")
                if (datasets is None or entry.dataset in datasets) and (since is None or entry.moment >= since):
                    yield entry


def digest_of(content: Mapping[str, Any]) -> str:
    """Digest of an entry's content, as its name has it."""
    return hashlib.sha256(_text(content)).hexdigest()[:16]


def _text(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
