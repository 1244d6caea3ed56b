"""Commit and read raw pages.

A page is one object ``<folder of the read>/<number, 6 digits>.page``: one line of compact JSON with the metadata, a line
feed, the body compressed with zstd. Without us it is read by ``head -n 1 page`` and ``tail -n +2 page | zstd -d``.
What lies after a missing number does not exist: the last page before the gap is the point to resume from.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from urllib.parse import unquote

import pyarrow as pa

from fleetlake.errors import DataError
from fleetlake.raw.files import HEAD_BYTES, Files, open_files
from fleetlake.raw.keys import PageRef, ReadKey, escape
from fleetlake.reading import Page

_CODEC = pa.Codec("zstd", compression_level=3)


class RawStore:
    """Raw pages below one URL.

    Args:
        url: local folder, or any fsspec URL (``s3://bucket/raw``).

    Raises:
        ConfigError: the URL cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files: Files = open_files(url)

    # --- pages ----------------------------------------------------------------------------------------------------

    def commit(self, key: ReadKey, seq: int, page: Page, cursor_in: str | None) -> PageRef:
        """Commit a page; it is durable when this returns.

        Args:
            key: the read it belongs to.
            seq: its number within the read, from 0.
            page: the answer.
            cursor_in: cursor its request started from.

        Returns:
            The committed page. When another process committed this number first, its page: go on from that one.

        Raises:
            StoreUnavailable: the store cannot be written.
            DataError: the page that is already there is damaged.
        """
        ref = PageRef(
            path=self._path(key.folder, seq),
            key=key,
            seq=seq,
            request=page.request,
            status=page.status,
            content_type=page.content_type,
            cursor_in=cursor_in,
            cursor_out=page.cursor,
            is_last=page.is_last,
            rows=page.rows,
            scopes=page.scopes,
            refusal=page.refusal,
            total=page.total,
            fetched_at=page.fetched_at,
            sha256=hashlib.sha256(page.body).hexdigest(),
            size=len(page.body),
        )
        head = json.dumps(ref.to_json(), separators=(",", ":"), ensure_ascii=False).encode()
        if self._files.create(ref.path, b"%b\n%b" % (head, _CODEC.compress(page.body, asbytes=True))):
            return ref
        return self.meta(ref.path)

    def pages(self, key: ReadKey) -> list[PageRef]:
        """Committed pages of a read, in order; a gap ends the list."""
        return self._pages(key.folder)

    def resume_point(self, key: ReadKey) -> tuple[int, PageRef | None]:
        """How many pages of a read are committed, and the last of them: one listing and one page, however many there are."""
        count = self._count(key.folder)
        return count, self.meta(self._path(key.folder, count - 1)) if count else None

    def meta(self, path: str) -> PageRef:
        """Metadata of one page.

        Raises:
            DataError: there is no such page, or it is damaged.
        """
        head = self._read(path, HEAD_BYTES)
        if b"\n" not in head:  # a very long request
            head = self._read(path)
        return self._parse(path, head.split(b"\n", 1)[0])

    def body(self, page: PageRef | str) -> bytes:
        """Body of a page, exactly as it came; its digest is verified.

        Raises:
            DataError: there is no such page, or it is damaged.
        """
        path = page if isinstance(page, str) else page.path
        head, _, packed = self._read(path).partition(b"\n")
        ref = self._parse(path, head)
        try:
            body: bytes = _CODEC.decompress(packed, decompressed_size=ref.size, asbytes=True)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(path, str(error)) from None
        if len(body) != ref.size or hashlib.sha256(body).hexdigest() != ref.sha256:
            raise self._damaged(path, "its digest is wrong")
        return body

    def iterate(
        self, vendor: str | None = None, account: str | None = None, feed: str | None = None, window: str | None = None
    ) -> Iterator[PageRef]:
        """All committed pages, read by read, in the order of their paths; for rebuilds.

        Args:
            vendor: only this vendor's.
            account: only this account's.
            feed: only this feed's.
            window: only this window, as ``raw.keys.window_name`` writes it.
        """
        for folder in self._folders("", [vendor, account, feed, window, None, None]):
            yield from self._pages(folder)

    def reads(self, vendor: str) -> Iterator[tuple[str, str, int]]:
        """All reads of a vendor by their names alone: feed, folder, number of committed pages."""
        for folder in self._folders("", [vendor, None, None, None, None, None]):
            yield unquote(folder.split("/")[2]), folder, self._count(folder)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _pages(self, folder: str) -> list[PageRef]:
        return [self.meta(self._path(folder, number)) for number in range(self._count(folder))]

    def _count(self, folder: str) -> int:
        names = set(self._files.names(folder))
        return next(number for number in itertools.count() if f"{number:06d}.page" not in names)

    @staticmethod
    def _path(folder: str, number: int) -> str:
        return f"{folder}/{number:06d}.page"

    def _folders(self, folder: str, filters: list[str | None]) -> Iterator[str]:
        if not filters:
            yield folder
            return
        if filters[0] is not None:
            names = [escape(filters[0])]
        else:
            names = [name for name in self._files.names(folder) if folder or not name.startswith("_")]  # no journal
        for name in names:
            yield from self._folders(f"{folder}/{name}" if folder else name, filters[1:])

    def _read(self, path: str, limit: int | None = None) -> bytes:
        try:
            return self._files.read(path, limit)
        except (FileNotFoundError, NotADirectoryError):
            raise DataError(
                "there is no such raw page", where=path, remedy="check FLEETLAKE_RAW_URL, or fetch anew"
            ) from None

    def _parse(self, path: str, head: bytes) -> PageRef:
        try:
            return PageRef.from_json(path, json.loads(head))
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(path, f"its first line is no metadata ({error})") from None

    def _damaged(self, path: str, why: str) -> DataError:
        return DataError(
            f"a raw page is damaged: {why}", where=path, remedy="restore it from a backup, or delete its read and fetch anew"
        )
