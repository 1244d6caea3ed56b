"""Where raw pages lie: a local folder with durable, exclusive creation, or any object store that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from fleetlake.errors import ConfigError, StoreUnavailable

HEAD_BYTES = 8192
"""First read of a page: enough for the metadata line of nearly all pages."""


_ABSENT = (FileNotFoundError, NotADirectoryError)


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
    import fsspec

    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"the raw store {url.split('?', maxsplit=1)[0]!r} cannot be opened: {error}",
            where="FLEETLAKE_RAW_URL",
            remedy="give a folder, or install the fsspec package of that protocol (s3fs for s3://)",
        ) from None
    return ObjectFiles(filesystem, root)


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
            remedy="check free space, permissions and, for an object store, its credentials and address",
        ) from error


class LocalFiles:
    """A local folder. A file is on disk, with its folder entry, before ``create`` or ``replace`` returns."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()

    def create(self, path: str, data: bytes) -> bool:
        """See ``Files``. Written beside its place, then linked: a link never replaces what is there."""
        target = self.root / path
        with _reported(target):
            draft = self._draft(target, data)
            try:
                os.link(draft, target)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                    raise
                # A file system without hard links: there the check and the rename are two steps.
                if target.exists():
                    return False
                draft.rename(target)
            finally:
                draft.unlink(missing_ok=True)
            _sync_folder(target.parent)
        return True

    def replace(self, path: str, data: bytes) -> None:
        """See ``Files``."""
        target = self.root / path
        with _reported(target):
            self._draft(target, data).replace(target)
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

    def _draft(self, target: Path, data: bytes) -> Path:
        _make_folders(target.parent)
        draft = target.with_name(f".{uuid.uuid4().hex}.tmp")
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return draft


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


class ObjectFiles:
    """An object store through fsspec.

    Exclusive creation is as good as the store's fsspec package: s3fs, gcsfs and adlfs send a conditional put; where a
    package does not know it, fsspec checks for the object first, and of two writers in the same instant the last wins.
    """

    def __init__(self, filesystem: Any, root: str) -> None:
        self.filesystem = filesystem
        self.root = root.rstrip("/")

    def create(self, path: str, data: bytes) -> bool:
        """See ``Files``."""
        with _reported(path):
            self._make_folder(path)
            try:
                self.filesystem.pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno == errno.EEXIST or "PreconditionFailed" in str(error):
                    return False
                raise
        return True

    def replace(self, path: str, data: bytes) -> None:
        """See ``Files``."""
        with _reported(path):
            self._make_folder(path)
            self.filesystem.pipe_file(self._path(path), data)

    def read(self, path: str, limit: int | None = None) -> bytes:
        """See ``Files``."""
        with _reported(path, *_ABSENT):
            data: bytes = self.filesystem.cat_file(self._path(path), start=None if limit is None else 0, end=limit)
            return data

    def names(self, folder: str) -> list[str]:
        """See ``Files``."""
        try:
            with _reported(folder, *_ABSENT):
                entries = self.filesystem.ls(self._path(folder), detail=False, refresh=True)
        except _ABSENT:
            return []
        return sorted(
            name for entry in entries if (name := entry.rstrip("/").rsplit("/", 1)[-1]) and not name.startswith(".")
        )

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _make_folder(self, path: str) -> None:
        # Object stores have no folders and ignore this; file-like ones need it.
        self.filesystem.makedirs(self._path(path).rsplit("/", 1)[0], exist_ok=True)
