"""Every error fleetlake raises, grouped by what the caller should do.

::

    FleetlakeError
    ├── Fatal          fix the configuration; retrying cannot help
    │   ├── ConfigError             a setting, file or parameter is wrong
    │   │   ├── ContractError       a contract file is wrong
    │   │   ├── NoWindow            no partition and no explicit window was given
    │   │   └── UnknownVehicle      a vehicle named in the params is not in the account
    │   ├── CredentialsRejected     the vendor refused the login or the certificate
    │   ├── AccessDenied            logged in, but not allowed to do this
    │   └── UnsupportedVersion      the vendor does not speak the API version we ask for
    ├── Retriable      wait and retry; nothing is wrong on our side
    │   ├── VendorUnavailable       connection lost, time-out, 5xx, proxy page
    │   ├── RateLimited             the quota is used up; ``retry_after`` says for how long
    │   ├── SessionExpired          the vendor ended the session; log in again
    │   ├── JobPending              an asynchronous job has not finished before the deadline
    │   ├── JobFailed               the vendor says the job failed or lost it; submit anew
    │   ├── StoreUnavailable        warehouse, lake or raw store cannot be reached
    │   └── StoreConflict           another writer was faster; publish again
    ├── Skippable      report it, go on with the rest
    │   ├── ScopeUnavailable        one vehicle or device cannot be read
    │   └── OutOfRetention          the vendor does not keep it any more
    └── DataError      distrust the data; keep raw, publish nothing from it
        ├── MalformedAnswer         the body is not what the vendor page promises
        ├── IncompleteAnswer        the answer is provably not whole
        ├── CursorStuck             the cursor does not move, or moves back
        └── BatchHeld               a critical quality check failed; the batch is not published
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Self


class FleetlakeError(Exception):
    """Base of all errors: what happened, where, and how to mend it.

    Args:
        message: what happened, without any secret.
        where: the file, table, request or setting concerned.
        remedy: what the reader can do about it.
    """

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        text = self.message
        if self.where:
            text += f" [{self.where}]"
        if self.remedy:
            text += f" → {self.remedy}"
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process borders (worker to supervisor): keyword-only fields must survive pickling.
        return _rebuild, (type(self), self.message, self.__dict__.copy())


def _rebuild(cls: type[FleetlakeError], message: str, fields: dict[str, Any]) -> FleetlakeError:
    error = cls.__new__(cls, message)
    error.args = (message,)
    error.__dict__.update(fields)
    return error


class Fatal(FleetlakeError):
    """Fix the configuration: a retry cannot help."""


class Retriable(FleetlakeError):
    """Wait and retry.

    Args:
        retry_after: seconds to wait before the next try, when known.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.retry_after = retry_after

    def after(self, seconds: float) -> Self:
        """The same error with another waiting time."""
        self.retry_after = seconds
        return self


class Skippable(FleetlakeError):
    """Report it and go on with the rest."""


class DataError(FleetlakeError):
    """Distrust the data: raw stays, nothing is published from it."""


class ConfigError(Fatal):
    """A setting, file or parameter is wrong; the person who set it acts."""


class ContractError(ConfigError):
    """A contract file does not describe a table we can build; its author acts."""


class NoWindow(ConfigError):
    """Neither a partition nor an explicit window was given; the person who triggered the run acts."""


class UnknownVehicle(ConfigError):
    """A vehicle named in the params is not in the account; the person who triggered the run acts."""


class CredentialsRejected(Fatal):
    """The vendor refused login, token or certificate; the owner of the connection acts."""


class AccessDenied(Fatal):
    """The login works but lacks a right; the owner of the vendor account acts."""


class UnsupportedVersion(Fatal):
    """The vendor does not support the API version asked for; a developer acts."""


class VendorUnavailable(Retriable):
    """Connection lost, time-out, 5xx or a proxy's page; the retry policy acts.

    Attributes:
        was_sent: the request was sent, or may have been; ``False`` where no connection came about.
    """

    was_sent = True


class RateLimited(Retriable):
    """The quota is used up, or would be; the retry policy waits ``retry_after`` seconds."""


class SessionExpired(Retriable):
    """The vendor ended our session and a new login did not help; the retry policy acts."""


class JobPending(Retriable):
    """An asynchronous job did not finish before the deadline; a retry attaches to it again."""


class JobFailed(Retriable):
    """The vendor's job failed, expired or is unknown; a retry submits a new one."""


class StoreUnavailable(Retriable):
    """Warehouse, lake or raw store cannot be reached; the retry policy acts, then the operator."""


class StoreConflict(Retriable):
    """Another writer changed the same data first; publishing again settles it."""


class ScopeUnavailable(Skippable):
    """One vehicle or device cannot be read; it is reported and the rest goes on."""


class OutOfRetention(Skippable):
    """The vendor does not keep what was asked for, or a part of it; nobody can act.

    A source raises it when it has given every page of what the vendor still has of the window.

    Args:
        since: from then on the vendor still has everything; ``None`` = nothing of the window is left.
    """

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        remedy: str | None = None,
        since: dt.datetime | None = None,
    ) -> None:
        super().__init__(message, where=where, remedy=remedy)
        self.since = since


class MalformedAnswer(DataError):
    """The body is not what the vendor page promises (truncated, an error with status 200, HTML)."""


class IncompleteAnswer(DataError):
    """The answer is provably not whole."""


class CursorStuck(DataError):
    """The vendor's cursor does not move, or moves back: going on would loop or lose rows."""


class BatchHeld(DataError):
    """A critical quality check failed; the batch waits in raw until a person or a new contract acts."""
