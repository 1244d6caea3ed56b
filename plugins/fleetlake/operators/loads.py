"""The three steps of a day's load: plan the chunks, load each chunk, certify what is complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from fleetlake.errors import IncompleteAnswer
from fleetlake.operators.base import FleetOperator
from fleetlake.window import DAY

if TYPE_CHECKING:
    from airflow.sdk import Context

    from fleetlake.pipeline.run import Run


class PlanOperator(FleetOperator):
    """Load the account's vehicles (or devices) and cut them into chunks, one mapped task each.

    The number of chunks is bounded by the account's ``max_chunks``, whatever the size of the fleet. Vehicles whose data
    is already complete are left out unless the run is forced. Returns lists of vendor ids.

    Args:
        entity_feed: snapshot feed that lists the vehicles.
        feeds: feeds that the chunks are for.
    """

    def __init__(
        self,
        *,
        entity_feed: str,
        feeds: Sequence[str],
        execution_timeout: timedelta | None = timedelta(minutes=15),
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=execution_timeout, **kwargs)
        self.entity_feed = entity_feed
        self.feeds = list(feeds)

    def execute(self, context: Context) -> list[list[str]]:
        """Publish the entity table and return the chunks."""
        with self.pipeline(context) as (pipeline, run):
            chunks = pipeline.plan(run, entity_feed=self.entity_feed, feeds=self.feeds)
        self.log.info("%d chunks, %d vehicles to load", len(chunks), sum(map(len, chunks)))
        return chunks


class LoadOperator(FleetOperator):
    """Load feeds for one chunk of vehicles: vendor to raw, raw to lake and warehouse.

    Args:
        feeds: what to read.
        scopes: vendor ids of the vehicles or devices.
    """

    def __init__(
        self,
        *,
        feeds: Sequence[str],
        scopes: Sequence[str],
        execution_timeout: timedelta | None = timedelta(hours=2),
        map_index_template: str | None = "{{ task.chunk }}",
        **kwargs: Any,
    ) -> None:
        super().__init__(execution_timeout=execution_timeout, map_index_template=map_index_template, **kwargs)
        self.feeds = list(feeds)
        self.scopes = scopes

    @property
    def chunk(self) -> str:
        """Name of the mapped task in the UI: its first and last vehicle, and how many there are."""
        if len(self.scopes) < 2:
            return "".join(self.scopes)
        return f"{self.scopes[0]} … {self.scopes[-1]} ({len(self.scopes)})"

    def execute(self, context: Context) -> dict[str, Any]:
        """Load the chunk and return what was done, in numbers."""
        with self.pipeline(context) as (pipeline, run):
            return pipeline.load(run, feeds=self.feeds, scopes=list(self.scopes))


class CertifyOperator(FleetOperator):
    """Say whether the window is complete, by the coverage ledger; fail when it is not. Announces the tables' assets.

    It runs also when there was nothing to load, and asks no vendor, so it takes no slot of the account's pool.

    Args:
        datasets: tables to judge.
    """

    def __init__(
        self,
        *,
        datasets: Sequence[str],
        trigger_rule: str = "none_failed",
        execution_timeout: timedelta | None = timedelta(minutes=30),
        **kwargs: Any,
    ) -> None:
        # Said here, because the DAG's default_args would win over a default of the signature.
        kwargs.setdefault("pool", "default_pool")
        super().__init__(trigger_rule=trigger_rule, execution_timeout=execution_timeout, **kwargs)
        self.datasets = list(datasets)

    def execute(self, context: Context) -> dict[str, Any]:
        """Certify the run's window.

        Raises:
            AirflowFailException: something is not complete. Asking the ledger again would not change that.
        """
        with self.pipeline(context) as (pipeline, run):
            try:
                result = pipeline.certify(run, datasets=self.datasets)
            except IncompleteAnswer as error:
                raise AirflowFailException(str(error)) from error
        self._announce(context, run)
        return result

    def _announce(self, context: Context, run: Run) -> None:
        """A run with a partition key announces that partition by itself; an explicit window announces its whole days."""
        days = [day.start.date().isoformat() for day in run.window.days() if day.end - day.start == DAY]
        for asset in self.outlets:
            event = context["outlet_events"][asset]
            event.extra["window"] = str(run.window)
            if run.partition is None and days:
                event.add_partitions(days)
