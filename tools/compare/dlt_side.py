"""dlt's side of the comparison: one run of one pipeline, in a process of its own, in dlt's own virtual environment.

usage: dlt_side.py '<JSON>'    see ``compare.py`` for the keys

Knows nothing of fleetlake. Written as dlt's documentation recommends; the pages are named beside each choice.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.sources.helpers import requests as dlt_requests
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.auth import HttpBasicAuth
from dlt.sources.helpers.rest_client.paginators import BasePaginator, SinglePagePaginator

DAY = dt.timedelta(days=1)

# https://dlthub.com/docs/general-usage/merge-loading
DISPOSITIONS: dict[str, dict[str, Any]] = {
    "replace the days read": {
        "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
        "merge_key": ("deviceId", "day"),
        "primary_key": ("deviceId", "key"),
    },
    "upsert by key": {
        "write_disposition": {"disposition": "merge", "strategy": "upsert"},
        "primary_key": ("deviceId", "key"),
    },
    "scd2 over the days read": {
        "write_disposition": {"disposition": "merge", "strategy": "scd2"},
        "merge_key": ("deviceId", "day"),
    },
}


def main() -> None:
    """Run what the JSON says; an exception ends the process with status 1, as in a scheduler's task."""
    asked = json.loads(sys.argv[1])
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    {"days": days, "telemetry": telemetry, "job": job}[asked["task"]](asked)


def pipeline_of(asked: dict[str, Any]) -> dlt.Pipeline:
    """The pipeline: state and packages on this worker's disk, tables in PostgreSQL."""
    destination = dlt.destinations.postgres(asked["postgres"])
    return dlt.pipeline(
        asked["dataset"], pipelines_dir=asked["home"], destination=destination, dataset_name=asked["dataset"]
    )


# --- windows of event time: positions and trips ---------------------------------------------------------------------------


def days(asked: dict[str, Any]) -> None:
    """Read device by device and day by day, since the vendor's reports are right for one day at most.

    A cursor on the day decides what a scheduled run reads again:
    https://dlthub.com/docs/general-usage/incremental/lag and .../incremental/cursor
    """
    client = RESTClient(
        asked["url"], auth=HttpBasicAuth(asked["email"], asked["password"]), headers={"Accept": "application/json"}
    )
    end = dt.date.fromisoformat(asked["end"])
    devices = [device["id"] for device in client.get("/devices").json()]
    how = dict(DISPOSITIONS[asked["way"]])
    if asked.get("contract"):
        how["schema_contract"] = asked["contract"]  # https://dlthub.com/docs/general-usage/schema-contracts

    def rows_of(path: str, key: str, start: dt.date) -> Iterator[list[dict[str, Any]]]:
        for device in devices:
            day = start
            while day < end:
                query = {"deviceId": device, "from": f"{day}T00:00:00Z", "to": f"{day}T23:59:59.999Z"}
                for page in client.paginate(path, params=query, paginator=SinglePagePaginator()):
                    yield [{**row, "day": day, "key": row[key]} for row in page]
                day += DAY

    def resource_of(name: str, path: str, key: str) -> Any:
        if asked["window"]:  # a run about exactly these days, whatever was read before

            @dlt.resource(name=name, **how)
            def windowed() -> Iterator[list[dict[str, Any]]]:
                yield from rows_of(path, key, dt.date.fromisoformat(asked["start"]))

            return windowed()

        # Without deduplication at the border: a day is replaced as a whole, so all of its rows must come along.
        first = dt.date.fromisoformat(asked["start"])
        cursor = dlt.sources.incremental("day", initial_value=first, lag=asked["lag"], primary_key=())

        @dlt.resource(name=name, **how)
        def scheduled(day: dlt.sources.incremental[dt.date] = cursor) -> Iterator[list[dict[str, Any]]]:
            yield from rows_of(path, key, day.start_value)

        return scheduled()

    pipeline_of(asked).run([resource_of(**table) for table in asked["tables"]])


# --- by revision: telemetry -----------------------------------------------------------------------------------------------


class Revisions(BasePaginator):
    """The next page starts at the greatest revision seen; a page with nothing greater is the last."""

    def __init__(self, start: str) -> None:
        super().__init__()
        self.revision = start

    def init_request(self, request: Any) -> None:
        """First page."""
        self.update_request(request)

    def update_state(self, response: Any, data: list[Any] | None = None) -> None:  # noqa: ARG002
        """After a page."""
        greatest = max((row["revision"] for row in data or ()), default=self.revision)
        self._has_next_page = greatest > self.revision
        self.revision = greatest

    def update_request(self, request: Any) -> None:
        """Next page."""
        if self.revision:
            request.params["min_revision"] = self.revision


def rcs(asked: dict[str, Any]) -> RESTClient:
    """A client with the vendor's certificate."""
    session = dlt_requests.Client().session
    session.cert, session.verify = (asked["cert"], asked["key_file"]), asked["ca"]
    session.trust_env = False  # else a CA bundle of the environment takes the place of the vendor's
    return RESTClient(asked["url"], headers={"X-API-Version": "1.3", "Accept": "application/json"}, session=session)


def telemetry(asked: dict[str, Any]) -> None:
    """A backfill by revision; in one run, or in chunks: https://dlthub.com/docs/examples/backfill_in_chunks ."""
    client = rcs(asked)

    @dlt.resource(name="rows", write_disposition="merge", primary_key="revision")
    def rows(
        revision: dlt.sources.incremental[str] = dlt.sources.incremental("revision", initial_value="", row_order="asc"),  # noqa: B008
    ) -> Iterator[list[dict[str, Any]]]:
        query = {"from": asked["start"], "to": asked["end"], "take": asked["take"]}
        yield from client.paginate(
            f"/telemetry/history/{asked['vehicle']}", params=query, paginator=Revisions(revision.start_value or "")
        )

    pipeline = pipeline_of(asked)
    if not asked["chunk"]:
        pipeline.run(rows())
        return
    while True:
        pipeline.run(rows().add_limit(asked["chunk"]))
        if not pipeline.last_trace.last_normalize_info.row_counts.get("rows"):
            return


# --- an asynchronous report -----------------------------------------------------------------------------------------------


def job(asked: dict[str, Any]) -> None:
    """A report that the vendor prepares; dlt has nothing for it, so this is the user's code.

    ``one step``: ask, wait and load in one resource. ``two steps``: a first run loads the token, a second one waits for it.
    """
    client = rcs(asked)
    pipeline = pipeline_of(asked)

    def ask() -> str:
        response = client.post("/vehicle-health/reports", params={"from": asked["start"], "to": asked["end"]})
        if asked.get("die") == "after the request":
            os.kill(os.getpid(), signal.SIGKILL)
        return response.headers["location"].rsplit("/", 1)[-1]

    def wait(token: str) -> list[dict[str, Any]]:
        while True:
            answer = client.get(f"/vehicle-health/reports/{token}").json()
            if answer["task"]["status"] == "SUCCEEDED":
                return answer["report"]["vehicles"]
            if answer["task"]["status"] == "FAILED":
                raise RuntimeError("the report failed")
            time.sleep(0.2)

    @dlt.resource(name="rows", write_disposition="merge", primary_key="report_id")
    def report(token: str | None = None) -> Iterator[list[dict[str, Any]]]:
        yield wait(token or ask())

    if asked["way"] == "one step":
        pipeline.run(report())
        return

    @dlt.resource(name="jobs", write_disposition="merge", primary_key="window")
    def jobs() -> Iterator[dict[str, Any]]:
        yield {"window": asked["start"], "token": ask()}

    pipeline.sync_destination()
    token = stored_token(pipeline, asked["start"])
    if token is None:
        pipeline.run(jobs())
        token = stored_token(pipeline, asked["start"])
    pipeline.run(report(token))


def stored_token(pipeline: dlt.Pipeline, window: str) -> str | None:
    """The token that an earlier run loaded."""
    if not pipeline.schemas or "jobs" not in pipeline.default_schema.tables:
        return None
    with pipeline.sql_client() as client:
        found = client.execute_sql("SELECT token FROM jobs WHERE \"window\"::text LIKE %s || '%%'", window[:10])
    return found[0][0] if found else None


if __name__ == "__main__":
    main()
