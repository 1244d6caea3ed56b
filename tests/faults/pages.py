"""Raw pages for tests, also in processes of their own: light to import."""

from __future__ import annotations

import datetime as dt

from fleetlake.raw import ReadKey
from fleetlake.reading import Page
from fleetlake.window import Window

KEY = ReadKey("north", "powunity", "trips", "17", Window.day("2026-01-05"), "r1")


def page(body: bytes, cursor: str | None = None) -> Page:
    """One page of many."""
    return Page(
        body=body, request="GET /", status=200, content_type="", rows=1, is_last=False, cursor=cursor,
        fetched_at=dt.datetime.now(dt.UTC),
    )  # fmt: skip
