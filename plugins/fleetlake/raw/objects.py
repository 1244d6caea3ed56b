"""Raw pages in an object store, through fsspec."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from typing import Any

import fsspec

from fleetlake.errors import ConfigError, FleetlakeError, StoreUnavailable
from fleetlake.http.redaction import redact

PROBE = ".exclusive"
"""Object that is created again to see that the store refuses it; names with a dot are never listed."""

_SETTING = "FLEETLAKE_RAW_URL"
_S3 = ("s3", "s3a")
_WITHOUT_FOLDERS = (*_S3, "gs", "gcs", "az", "abfs", "abfss", "adl")
_EXISTS = ("PreconditionFailed", "412")
_UNDECIDED = ("ConditionalRequestConflict", "OperationAborted", "409")
_PAUSES_S = (0.1, 0.3, 1.0, 3.0)


class ObjectFiles:
    """An object store (``fleetlake.raw.files.Files``).

    Exclusive creation is a conditional put (``If-None-Match: *``), decided by the store. Whether it does so is proven once
    per process before the first object is created. Listings are never cached: a store may hold what we have not seen.

    The connection is opened on first use, and anew in a forked process.

    Args:
        url: such as ``s3://bucket/raw``; credentials and address come from the environment (``AWS_…``).

    Raises:
        ConfigError: the protocol is unknown, or its package is not installed.
    """

    def __init__(self, url: str) -> None:
        self.protocol = url.split("://", 1)[0]
        try:
            self._class: Any = fsspec.get_filesystem_class(self.protocol)
        except (ImportError, ValueError) as error:
            raise ConfigError(
                f"the raw store {url!r} cannot be opened: {error}",
                where=_SETTING,
                remedy="give a folder, or install the fsspec package of that protocol (s3fs for s3://)",
            ) from None
        self.root = str(self._class._strip_protocol(url)).rstrip("/")
        self._opened: tuple[int, Any] | None = None
        self._is_exclusive = False

    def create(self, path: str, data: bytes) -> bool:
        """See ``Files``."""
        with self._reported(path):
            if not self._is_exclusive:
                self._prove_exclusive()
            return self._put_new(path, data)

    def replace(self, path: str, data: bytes) -> None:
        """See ``Files``."""
        with self._reported(path):
            self._make_folder(path)
            self._files().pipe_file(self._path(path), data)

    def read(self, path: str, limit: int | None = None) -> bytes:
        """See ``Files``."""
        with self._reported(path, FileNotFoundError):
            bounds: dict[str, int] = {} if limit is None else {"start": 0, "end": limit}
            data: bytes = self._files().cat_file(self._path(path), **bounds)
            return data

    def names(self, folder: str) -> list[str]:
        """See ``Files``."""
        try:
            with self._reported(folder, FileNotFoundError):
                entries = self._files().ls(self._path(folder), detail=False, refresh=True)
        except FileNotFoundError:
            return []
        return sorted(
            name for entry in entries if (name := entry.rstrip("/").rsplit("/", 1)[-1]) and not name.startswith(".")
        )

    # --- inside -------------------------------------------------------------------------------------------------------

    def _files(self) -> Any:
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), self._class(**self._options())
        return self._opened[1]

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        if self.protocol in _S3 and "AWS_MAX_ATTEMPTS" not in os.environ:
            # s3fs tries five times around these.
            options["config_kwargs"] = {"retries": {"mode": "standard", "total_max_attempts": 2}}
        return options

    def _put_new(self, path: str, data: bytes) -> bool:
        self._make_folder(path)
        for pause in (*_PAUSES_S, None):
            try:
                self._files().pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                code = _code(error)
                if code in _EXISTS:
                    return False
                if code not in _UNDECIDED or pause is None:
                    raise
                # Another conditional put of this object is under way: ask again when it is decided.
                time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311
            else:
                return True
        raise AssertionError("the last pause raises")

    def _prove_exclusive(self) -> None:
        for _ in range(2):
            if not self._put_new(PROBE, b"Created again by each process, to see that the store refuses it.\n"):
                self._is_exclusive = True
                return
        raise ConfigError(
            "the object store replaces an object that should only be created: two workers could overwrite each other's pages",
            where=_SETTING,
            remedy="use a store that honours conditional writes (`If-None-Match: *`)",
        )

    def _path(self, path: str) -> str:
        return f"{self.root}/{path}" if path else self.root

    def _make_folder(self, path: str) -> None:
        if self.protocol not in _WITHOUT_FOLDERS:
            self._files().makedirs(self._path(path).rsplit("/", 1)[0], exist_ok=True)

    @contextlib.contextmanager
    def _reported(self, path: str, *passing: type[Exception]) -> Iterator[None]:
        as_they_are: tuple[type[Exception], ...] = (FleetlakeError, *passing)
        try:
            yield
        except as_they_are:
            raise
        except Exception as error:  # each store has errors of its own
            code = _code(error)
            words = redact(f"{type(error).__name__}: {error}" if code is None else f"{code}: {error}")
            raise StoreUnavailable(
                f"the raw store fails: {words}",
                where=f"{self.protocol}://{self._path(path)}",
                remedy=_remedy(error, code),
            ) from error


def _code(error: BaseException) -> str | None:
    """The store's own code for what went wrong, which s3fs hides behind errors of the operating system."""
    for found in (error, error.__cause__):
        response = getattr(found, "response", None)
        if isinstance(response, dict):
            return str(response.get("Error", {}).get("Code")) or None
    return None


def _remedy(error: Exception, code: str | None) -> str:
    if isinstance(error, FileNotFoundError):
        return f"create the bucket, or mend {_SETTING}"
    if isinstance(error, PermissionError) or "Credentials" in type(error).__name__ or code in ("InvalidToken", "403"):
        return (
            "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the role, and that it may list, read"
            f" and write below {_SETTING}"
        )
    return f"check {_SETTING}, AWS_ENDPOINT_URL and AWS_REGION, and that the store answers"
