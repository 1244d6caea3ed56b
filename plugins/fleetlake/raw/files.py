"""Where raw pages lie: a local folder with durable, exclusive creation, or an object store (``fleetlake.raw.objects``)."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from fleetlake.errors import StoreUnavailable

HEAD_BYTES = 8192
"""First read of a page: enough for the metadata line of nearly all pages."""

DRAFTS = ".drafts"
"""Folder below the root for files that are being written; names with a dot are never listed."""

_ABSENT = (FileNotFoundError, NotADirectoryError)
_ABANDONED_S = 3600
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


class Files(Protocol):
    """What the raw store needs of a file system. Paths are relative, with ``/``."""

    def create(self, path: str, data: bytes) -> bool:
        """Create a file whole or not at all; ``False`` when it exists already, which is then untouched."""
        ...

    def replace(self, path: str, data: bytes) -> None:
        """Create or replace a file, whole or not at all."""
        ...

    def read(self, path: str, limit: int | None = None) -> bytes:
        """All bytes, or the first ``limit``.

        Raises:
            FileNotFoundError: there is no such file.
        """
        ...

    def names(self, folder: str) -> list[str]:
        """Sorted names in a folder, without temporary files; empty when there is no such folder."""
        ...


def open_files(url: str) -> Files:
    """Files below a local folder or an fsspec URL such as ``s3://bucket/raw``.

    Raises:
        ConfigError: the URL's protocol is unknown or its package is not installed.
    """
    if "://" not in url:
        return LocalFiles(Path(url))
    if url.startswith("file://"):
        return LocalFiles(Path(url.removeprefix("file://")))
    from fleetlake.raw.objects import ObjectFiles  # fsspec is imported where it is needed only

    return ObjectFiles(url)


@contextlib.contextmanager
def _reported(path: object, *passing: type[OSError]) -> Iterator[None]:
    try:
        yield
    except passing:
        raise
    except OSError as error:
        raise StoreUnavailable(
            f"the raw store fails: {error.strerror or type(error).__name__}",
            where=str(path),
            remedy="check free space, permissions and, on a network file system, its connection",
        ) from error


class LocalFiles:
    """A local folder, on one file system. A file is on disk, with its folder entry, before ``create`` or ``replace`` returns.

    A file is written in the folder ``.drafts`` and then gets its name in one step. What a killed process leaves there is
    removed when it is an hour old; a draft that is removed under a process that slept so long makes its ``create`` fail.
    """

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self._drafts = self.root / DRAFTS
        self._is_swept = False

    def create(self, path: str, data: bytes) -> bool:
        """See ``Files``. A link never replaces what is there."""
        target = self.root / path
        with _reported(target), self._draft(data) as draft:
            _make_folders(target.parent)
            try:
                os.link(draft, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                if not self._move_new(draft, target):
                    return False
            _sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """See ``Files``."""
        target = self.root / path
        with _reported(target), self._draft(data) as draft:
            _make_folders(target.parent)
            draft.replace(target)
            _sync_folder(target.parent)

    def read(self, path: str, limit: int | None = None) -> bytes:
        """See ``Files``."""
        with _reported(self.root / path, *_ABSENT), (self.root / path).open("rb") as file:
            return file.read(-1 if limit is None else limit)

    def names(self, folder: str) -> list[str]:
        """See ``Files``."""
        try:
            with _reported(self.root / folder, *_ABSENT):
                return sorted(name for name in os.listdir(self.root / folder) if not name.startswith("."))  # noqa: PTH208
        except _ABSENT:
            return []

    @contextlib.contextmanager
    def _draft(self, data: bytes) -> Iterator[Path]:
        """A file with this content, on disk, gone afterwards unless it was moved."""
        _make_folders(self._drafts)
        if not self._is_swept:
            self._sweep()
            self._is_swept = True
        draft = self._drafts / uuid.uuid4().hex
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield draft
        finally:
            draft.unlink(missing_ok=True)

    def _move_new(self, draft: Path, target: Path) -> bool:
        """On a file system without hard links: look and move, one process at a time. The kernel frees a dead one's lock."""
        with (self._drafts / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if target.exists():
                return False
            draft.rename(target)
        return True

    def _sweep(self) -> None:
        """Remove what processes left that were killed while they wrote."""
        oldest = time.time() - _ABANDONED_S
        with os.scandir(self._drafts) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # others sweep too
                    if entry.name != "lock" and entry.stat().st_mtime < oldest:
                        Path(entry.path).unlink()


def _make_folders(folder: Path) -> None:
    """Like ``mkdir -p``, but each new folder's entry is on disk too."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
