"""Names of raw pages: which read a page belongs to, and where that read's folder is."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from fleetlake.errors import ConfigError
from fleetlake.window import Window

FORMAT_VERSION = 1
"""Version of the page format (see ``fleetlake.raw.store``)."""

_LONGEST_PART = 200  # file systems allow 255 bytes


@dataclass(frozen=True)
class ReadKey:
    """One read of a feed: the pages of one request chain, from its first to its last page.

    Attributes:
        account: account it was read with.
        vendor: the vendor's room.
        feed: feed of that room.
        scope: vehicle, device, or ``reading.FLEET``.
        window: window asked for; ``None`` when the feed has none.
        read: which reading of it; another name reads the same window anew.
    """

    account: str
    vendor: str
    feed: str
    scope: str
    window: Window | None
    read: str

    @property
    def folder(self) -> str:
        """Folder of its pages below the store: ``powunity/north/trips/2026-01-05/17/<read>``.

        Raises:
            ConfigError: a part is empty.
        """
        parts = (self.vendor, self.account, self.feed, window_name(self.window), self.scope, self.read)
        return "/".join(escape(part) for part in parts)


def window_name(window: Window | None) -> str:
    """Short sortable text of a window: a day as its date, others as ``20260105T060000Z--20260106T000000Z``."""
    if window is None:
        return "_all"
    if window == Window.day(window.start):
        return window.start.date().isoformat()
    return f"{_compact(window.start)}--{_compact(window.end)}"


def _compact(moment: dt.datetime) -> str:
    return f"{moment:%Y%m%dT%H%M%S}{f'.{moment.microsecond:06d}' if moment.microsecond else ''}Z"


def escape(part: str) -> str:
    """One path part that is safe on every store: percent-escaped, never ``.`` or ``..``, of bounded length.

    Raises:
        ConfigError: the part is empty.
    """
    if not part:
        raise ConfigError("an empty name cannot be part of a raw page's path", remedy="give account, feed, scope and read")
    name = quote(part, safe="")
    if name.startswith("."):  # also hidden and temporary names of our own
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_PART:
        # The full name stands in the page's metadata.
        name = f"{name[:_LONGEST_PART]}~{hashlib.sha256(part.encode()).hexdigest()[:16]}"
    return name


@dataclass(frozen=True, kw_only=True)
class PageRef:
    """A committed page: its place and all that is known about it except its body.

    Attributes:
        path: place below the store; the ``raw_page`` column of published rows.
        key: the read it belongs to.
        seq: number within the read, from 0.
        request, status, content_type, rows, is_last, scopes, refusal, total, fetched_at: see ``reading.Page``.
        cursor_in: cursor the request started from.
        cursor_out: cursor the next page starts from.
        sha256: digest of the body, hexadecimal.
        size: bytes of the body.
    """

    path: str
    key: ReadKey
    seq: int
    request: str
    status: int
    content_type: str
    cursor_in: str | None
    cursor_out: str | None
    is_last: bool
    rows: int
    fetched_at: dt.datetime
    sha256: str
    size: int
    scopes: tuple[str, ...] = ()
    refusal: str = ""
    total: int | None = None

    @property
    def account(self) -> str:
        """Account of its read."""
        return self.key.account

    @property
    def feed(self) -> str:
        """Feed of its read."""
        return self.key.feed

    @property
    def scope(self) -> str:
        """Scope of its read."""
        return self.key.scope

    def to_json(self) -> dict[str, Any]:
        """Metadata as it stands in the page's first line."""
        window = self.key.window
        return {
            "version": FORMAT_VERSION,
            "account": self.key.account,
            "vendor": self.key.vendor,
            "feed": self.key.feed,
            "scope": self.key.scope,
            "window": [window.start.isoformat(), window.end.isoformat()] if window else None,
            "read": self.key.read,
            "seq": self.seq,
            "request": self.request,
            "status": self.status,
            "content_type": self.content_type,
            "cursor_in": self.cursor_in,
            "cursor_out": self.cursor_out,
            "is_last": self.is_last,
            "rows": self.rows,
            "fetched_at": self.fetched_at.isoformat(),
            "sha256": self.sha256,
            "size": self.size,
            **({"scopes": list(self.scopes)} if self.scopes else {}),
            **({"refusal": self.refusal} if self.refusal else {}),
            **({"total": self.total} if self.total is not None else {}),
        }

    @classmethod
    def from_json(cls, path: str, data: Mapping[str, Any]) -> PageRef:
        """Read the metadata of a page's first line.

        Raises:
            KeyError, TypeError, ValueError: it is not the metadata of a page.
        """
        if data["version"] != FORMAT_VERSION:
            raise ValueError(f"page format {data['version']}, known: {FORMAT_VERSION}")
        window = data["window"]
        key = ReadKey(
            account=data["account"],
            vendor=data["vendor"],
            feed=data["feed"],
            scope=data["scope"],
            window=Window.parse(*window) if window else None,
            read=data["read"],
        )
        names = ("seq", "request", "status", "content_type", "cursor_in", "cursor_out", "is_last", "rows", "sha256", "size")
        return cls(
            path=path,
            key=key,
            fetched_at=dt.datetime.fromisoformat(data["fetched_at"]),
            scopes=tuple(data.get("scopes", ())),
            refusal=data.get("refusal", ""),
            total=data.get("total"),
            **{name: data[name] for name in names},
        )
