"""Where a read of a list stands: every page that is committed says what is to be asked next, and all that is known for it."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from fleetlake.errors import ConfigError
from fleetlake.vendors.suivideflotte.client import VENDOR_PAGE
from fleetlake.vendors.suivideflotte.decode import Listing, seal


class Come(msgspec.Struct, frozen=True):
    """What must be known of a page that has come when the page before it is read again, perhaps by another process.

    Attributes:
        rows: how many it has.
        is_end: by itself it says that none follows.
        is_counted: it is a paginator's, which knows its last page.
        total: rows of the whole list, as a paginator counts them.
        seal: of its rows.
    """

    rows: int
    is_end: bool
    is_counted: bool
    total: int | None
    seal: str

    @classmethod
    def of(cls, found: Listing, size: int) -> Come:
        """What is known of a page of which ``size`` rows were asked for."""
        rows = len(found.data)
        if rows and found.last_page is not None:
            is_end = found.current_page is not None and found.current_page >= found.last_page
        else:
            # A limit we do not know of may cut pages short, but none below the vendor's own page.
            is_end = rows < min(size, VENDOR_PAGE)
        return cls(rows, is_end, found.last_page is not None, found.total, seal(found))

    def is_repeated_by(self, before: Listing) -> bool:
        """The page before has the same rows."""
        return self.rows > 0 and self.seal == seal(before)


@dataclass(frozen=True)
class Place:
    """A place in a read; each is one request.

    As a cursor it is ``number/size``; what has come of that page follows it, once it has.

    Attributes:
        number: the page to ask for, from 1.
        size: rows of a page; ``None`` = not known before the first answer.
        come: that page has come, and the one before it is to be read again.
    """

    number: int = 1
    size: int | None = None
    come: Come | None = None

    @classmethod
    def of(cls, cursor: str | None) -> Place:
        """The place that a cursor names; ``None`` = the beginning.

        Raises:
            ConfigError: it is no cursor of a list.
        """
        if cursor is None:
            return cls()
        place, _, come = cursor.partition(" ")
        number, _, size = place.partition("/")
        try:
            return cls(int(number), int(size), msgspec.json.decode(come, type=Come) if come else None)
        except ValueError:
            raise ConfigError(f"{cursor!r} is no cursor of a list", where="suivideflotte") from None

    def __str__(self) -> str:
        come = f" {msgspec.json.encode(self.come).decode()}" if self.come else ""
        return f"{self.number}/{self.size}{come}"

    @property
    def asks(self) -> int:
        """The page that is asked for here."""
        return self.number - 1 if self.come else self.number
