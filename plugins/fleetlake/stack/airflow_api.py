"""A small client of Airflow's REST API: what starting, loading and watching need.

Any Airflow of version 3 will do: ``AirflowApi.from_env`` reads where it is and who asks.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import requests

from fleetlake.accounts import Account
from fleetlake.errors import ConfigError, StoreConflict, StoreUnavailable

_PAGE = 100


class AirflowApi:
    """Airflow at one address, as one user.

    Args:
        base_url: such as ``http://127.0.0.1:8080``.
        user: name of a user.
        password: of that user.
        token: a token of the API instead of user and password; it is not renewed.

    Raises:
        StoreUnavailable: from every method, when the API server does not answer or answers 5xx.
        StoreConflict: something of the kind is under way already (409).
        ConfigError: from every method, when it refuses the request; with the server's reason.
    """

    def __init__(self, base_url: str, user: str, password: str, *, token: str | None = None) -> None:
        self.base_url = base_url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._session = requests.Session()
        self._session.trust_env = False  # no .netrc: it would replace our token silently
        self._is_fixed = token is not None
        if token is not None:
            self._session.headers["Authorization"] = f"Bearer {token}"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> AirflowApi | None:
        """The Airflow of ``FLEETLAKE_AIRFLOW_URL``, with ``_TOKEN``, or ``_USER`` and ``_PASSWORD``; ``None`` = not set.

        Raises:
            ConfigError: an address without credentials.
        """
        url, token = env.get("FLEETLAKE_AIRFLOW_URL"), env.get("FLEETLAKE_AIRFLOW_TOKEN") or None
        user, password = env.get("FLEETLAKE_AIRFLOW_USER", ""), env.get("FLEETLAKE_AIRFLOW_PASSWORD", "")
        if not url:
            return None
        if token is None and not (user and password):
            raise ConfigError(
                "nobody may ask that Airflow: no credentials are set",
                where="FLEETLAKE_AIRFLOW_URL",
                remedy="set FLEETLAKE_AIRFLOW_TOKEN, or FLEETLAKE_AIRFLOW_USER and FLEETLAKE_AIRFLOW_PASSWORD",
            )
        return cls(url, user, password, token=token)

    def parts(self, *, since: float = 0.0) -> dict[str, str]:
        """Health by part: ``healthy``, ``unhealthy``, or ``starting``. Needs no login.

        Args:
            since: a heartbeat before this moment (seconds since 1970) counts as none.
        """
        answer = self._call("GET", "/api/v2/monitor/health", login=False)
        health = {"api-server": str(answer["metadatabase"]["status"])}
        for name in ("scheduler", "dag-processor", "triggerer"):
            key = name.replace("-", "_")
            part = answer.get(key) or {}
            beat = part.get(f"latest_{key}_heartbeat")
            fresh = beat is not None and dt.datetime.fromisoformat(beat).timestamp() >= since
            health[name] = str(part["status"]) if fresh else "starting"
        return health

    def put_pools(self, accounts: Iterable[Account]) -> None:
        """Create or update the pool of each account. Deferred tasks count: a waiting report is a request at the vendor."""
        self._put("pools", list(pools(accounts)))

    def put_connections(self, connections: Mapping[str, Mapping[str, Any]]) -> None:
        """Create or update connections: id to fields of Airflow's connection JSON, ``extra`` an object."""
        entities = [
            {"connection_id": name, **fields, "extra": json.dumps(fields.get("extra", {}))}
            for name, fields in connections.items()
        ]
        self._put("connections", entities)

    def dags(self) -> list[dict[str, Any]]:
        """Every DAG the server knows and whose file is there."""
        return list(self._all("/api/v2/dags", "dags", {}))

    def import_errors(self) -> list[dict[str, Any]]:
        """DAG files that could not be read."""
        return list(self._all("/api/v2/importErrors", "import_errors", {}))

    def set_paused(self, dag_id: str, paused: bool) -> None:
        """Pause or unpause a DAG."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": paused})

    def runs(self, dag_ids: Sequence[str]) -> list[dict[str, Any]]:
        """All runs of some DAGs."""
        return [run for dag_id in dag_ids for run in self._all(f"/api/v2/dags/{dag_id}/dagRuns", "dag_runs", {})]

    def tasks(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run."""
        return list(self._all(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances", "task_instances", {}))

    def clear_failed(self, dag_id: str, run_id: str) -> None:
        """Run the failed tasks of a run again."""
        self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/clear", body={"dry_run": False, "only_failed": True})

    def trigger(self, dag_id: str, partition: str, conf: Mapping[str, Any]) -> str:
        """Start a run for a partition; gives its id."""
        body = {"logical_date": None, "partition_key": partition, "conf": dict(conf)}
        return str(self._call("POST", f"/api/v2/dags/{dag_id}/dagRuns", body=body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        return self._call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")

    def backfill(self, dag_id: str, first: dt.date, last: dt.date, *, max_active_runs: int = 2) -> dict[str, Any]:
        """Create a backfill over partition days, both ends included; days that have a run are left alone."""
        return self.create_backfill(
            {
                "dag_id": dag_id,
                "from_date": f"{first}T00:00:00Z",
                "to_date": f"{last}T00:00:00Z",
                "max_active_runs": max_active_runs,
                "reprocess_behavior": "none",
            }
        )

    def create_backfill(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create a backfill.

        Raises:
            StoreConflict: another backfill of the DAG is running.
        """
        return self._call("POST", "/api/v2/backfills", body=dict(body))

    def dry_run(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The runs that ``create_backfill`` would make."""
        return list(self._call("POST", "/api/v2/backfills/dry_run", body=dict(body))["backfills"])

    def get_backfill(self, backfill_id: int) -> dict[str, Any]:
        """A backfill, with ``dag_id``, ``created_at``, ``completed_at``, ``is_paused``."""
        return self._call("GET", f"/api/v2/backfills/{backfill_id}")

    def running_backfill(self, dag_id: str) -> dict[str, Any] | None:
        """The backfill of a DAG that has not ended."""
        found = self._all("/api/v2/backfills", "backfills", {"dag_id": dag_id})
        return next((item for item in found if item["completed_at"] is None), None)

    def cancel_backfill(self, backfill_id: int) -> None:
        """Cancel a backfill: its queued runs fail, those that run go on."""
        self._call("PUT", f"/api/v2/backfills/{backfill_id}/cancel")

    def backfill_runs(self, backfill: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Runs of a backfill.

        The API does not say which run belongs to which backfill. But a DAG has one backfill at a time, which makes its runs
        when it is created.
        """
        first, end = _moment(backfill["created_at"]), _moment(backfill["completed_at"])
        query = {"run_type": "backfill", "order_by": "run_after"}
        runs = self._all(f"/api/v2/dags/{backfill['dag_id']}/dagRuns", "dag_runs", query)
        return [
            run
            for run in runs
            if (queued := _moment(run["queued_at"])) and first and queued >= first and (end is None or queued <= end)
        ]

    def _put(self, kind: str, entities: list[dict[str, Any]]) -> None:
        action = {"action": "create", "entities": entities, "action_on_existence": "overwrite"}
        answer = self._call("PATCH", f"/api/v2/{kind}", body={"actions": [action]})
        if errors := answer.get("create", {}).get("errors"):
            raise ConfigError(f"Airflow refused {kind}: {errors}", where=self.base_url)

    def _all(self, path: str, key: str, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            answer = self._call("GET", path, params={**params, "limit": _PAGE, "offset": offset})
            yield from answer[key]
            offset += len(answer[key])
            if not answer[key] or offset >= answer["total_entries"]:
                return

    def _call(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None, login: bool = True
    ) -> dict[str, Any]:
        for attempt in (1, 2):
            if login and "Authorization" not in self._session.headers:
                answer = self._checked("POST", "/auth/token", self._send("POST", "/auth/token", None, self._login))
                self._session.headers["Authorization"] = f"Bearer {answer['access_token']}"
            response = self._send(method, path, params, body)
            if response.status_code == 401 and login and attempt == 1 and not self._is_fixed:
                del self._session.headers["Authorization"]  # the token has expired
                continue
            break
        return self._checked(method, path, response)

    def _checked(self, method: str, path: str, response: requests.Response) -> dict[str, Any]:
        if response.status_code == 409:
            raise StoreConflict(f"Airflow answered 409 to {method} {path}: {response.text[:500]}", where=self.base_url)
        if response.status_code >= 400:
            raise ConfigError(
                f"Airflow answered {response.status_code} to {method} {path}: {response.text[:500]}", where=self.base_url
            )
        result: dict[str, Any] = response.json() if response.content else {}
        return result

    def _send(self, method: str, path: str, params: Mapping[str, Any] | None, body: Any) -> requests.Response:
        try:
            response = self._session.request(method, self.base_url + path, params=params, json=body, timeout=30)
        except requests.RequestException as error:
            raise StoreUnavailable(
                f"Airflow's API server does not answer: {type(error).__name__}",
                where=self.base_url,
                remedy="see `fleetlake status`; start the stack with `make up`",
            ) from None
        if response.status_code >= 500:
            raise StoreUnavailable(
                f"Airflow answered {response.status_code} to {method} {path}",
                where=self.base_url,
                remedy="see the API server's log",
            )
        return response


def pools(accounts: Iterable[Account]) -> Iterator[dict[str, Any]]:
    """The pool of each account as Airflow's API takes it; accounts that share a connection share a pool."""
    for name, account in {account.pool: account for account in accounts}.items():
        yield {
            "name": name,
            "slots": account.pool_slots,
            "description": f"requests to the {account.vendor} account {account.name}",
            "include_deferred": True,
        }


def _moment(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
