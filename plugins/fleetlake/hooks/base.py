"""What all hooks share: reading the connection, the shared rate gate, finding a vendor's hook."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self
from urllib.parse import quote, urlsplit

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from fleetlake.errors import ConfigError, FleetlakeError
from fleetlake.reading import Lane, Source
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from fleetlake.accounts import Account
    from fleetlake.http.rate_gate import RateGate
    from fleetlake.http.tokens import TokenStore

WAREHOUSE_CONN_ID = "fleetlake_warehouse"
"""Connection with the warehouse's address; read when ``FLEETLAKE_WAREHOUSE_URL`` is not set."""


class CheckedSource(Source, Protocol):
    """A source that can say whether its connection works."""

    def check(self) -> str:
        """Try the connection; returns what works, raises what is wrong."""
        ...


class FleetHook(BaseHook):
    """One account at a vendor, from an Airflow connection.

    A vendor's hook names itself in the class attributes and makes a source of the connection's fields; its form is the
    YAML file beside it.

    Args:
        conn_id: the connection.
    """

    conn_name_attr: ClassVar[str]
    default_conn_name: ClassVar[str]
    conn_type: ClassVar[str]
    hook_name: ClassVar[str]

    def __init__(self, conn_id: str) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._fields: Mapping[str, Any] | None = None
        self._warehouse_url: str | None = None

    @classmethod
    async def aload(cls, conn_id: str) -> Self:
        """The hook with everything already read from Airflow: in a trigger only awaitable reading is allowed."""
        hook = cls(conn_id)
        try:
            connection = await cls.aget_connection(conn_id)
        except AirflowNotFoundException:
            raise _no_connection(conn_id, cls.conn_type) from None
        hook._fields = fields_of(connection, await connection.aextra_dejson())
        hook._warehouse_url = Settings.from_env().warehouse_url
        if hook._warehouse_url is None:
            try:
                warehouse = await cls.aget_connection(WAREHOUSE_CONN_ID)
                hook._warehouse_url = warehouse_url(fields_of(warehouse, await warehouse.aextra_dejson()))
            except AirflowNotFoundException:
                pass  # the gate of this process alone
        return hook

    @property
    def fields(self) -> Mapping[str, Any]:
        """The connection's fields that are filled in, those of ``extra`` among them.

        Raises:
            ConfigError: there is no such connection.
        """
        if self._fields is None:
            try:
                connection = self.get_connection(self.conn_id)
            except AirflowNotFoundException:
                raise _no_connection(self.conn_id, self.conn_type) from None
            self._fields = fields_of(connection, connection.extra_dejson)
            self._warehouse_url = settings_with_warehouse(Settings.from_env()).warehouse_url
        return self._fields

    @abstractmethod
    def get_source(self, lane: Lane) -> CheckedSource:
        """The account's data. Requests pass the rate gate that all workers and triggerers share.

        Raises:
            ConfigError: there is no such connection, or a field of it is wrong.
        """

    def gate(self, key: str, rate: float, burst: float) -> RateGate | None:
        """The rate gate ``key``, shared through the warehouse by all processes; ``None`` when no warehouse is configured."""
        return _shared_gate(self._warehouse_url, key, rate, burst) if self._warehouse_url else None

    def tokens(self, key: str, secret: str) -> TokenStore | None:
        """The login's token, shared through the warehouse by all processes; ``None`` when no warehouse is configured.

        Args:
            key: name of the login.
            secret: the connection's secret, with which the token is encrypted.
        """
        if not self._warehouse_url:
            return None
        from fleetlake.http.tokens import PostgresTokens

        return PostgresTokens(self._warehouse_url, key, secret)

    def test_connection(self) -> tuple[bool, str]:
        """What Airflow's "Test" button asks: does it work, and if not, what is wrong and how to mend it."""
        try:
            source = self.get_source(Lane.LIVE)
            try:
                return True, source.check()
            finally:
                source.close()
        except FleetlakeError as error:
            return False, str(error)


@functools.lru_cache(maxsize=64)
def _shared_gate(url: str, key: str, rate: float, burst: float) -> RateGate:
    # Kept for the life of the process: a triggerer opens a source per report, and each gate has database connections.
    from fleetlake.http.rate_gate import PostgresGate

    return PostgresGate(url, key, rate, burst=burst)


def hook_for(account: Account) -> FleetHook:
    """The hook of an account: the one in ``hooks/<vendor>.py``.

    Raises:
        ConfigError: the vendor has none.
    """
    name = f"fleetlake.hooks.{account.vendor}"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise ConfigError(
            f"there is no hook for vendor {account.vendor!r}",
            where=f"include/accounts.yaml: {account.name}",
            remedy="use the name of a vendor's room",
        ) from None
    for item in vars(module).values():
        if isinstance(item, type) and issubclass(item, FleetHook) and item.__module__ == name:
            return item(account.conn_id)
    raise ConfigError(f"{name} defines no hook", remedy="derive a class from FleetHook there")


def settings_with_warehouse(settings: Settings) -> Settings:
    """The settings, with the warehouse's address from the connection ``fleetlake_warehouse`` if the environment has none."""
    if settings.warehouse_url is not None:
        return settings
    try:
        connection = BaseHook.get_connection(WAREHOUSE_CONN_ID)
    except AirflowNotFoundException:
        return settings
    return dataclasses.replace(settings, warehouse_url=warehouse_url(fields_of(connection, connection.extra_dejson)))


def fields_of(connection: Connection, extra: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a connection and its ``extra`` that are filled in: a form sends empty ones too."""
    fields = {name: getattr(connection, name) for name in ("host", "schema", "port", "login", "password")}
    return {name: value for name, value in {**fields, **extra}.items() if value is not None and value != ""}


def with_base_url(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with ``base_url`` in place of host, schema (the scheme, default https) and port.

    The host may be a whole URL.
    """
    rest = {name: value for name, value in fields.items() if name not in ("host", "schema", "port")}
    if "host" not in fields:
        return rest
    host = str(fields["host"]).strip()
    url = host if "://" in host else f"{fields.get('schema', 'https')}://{host}"
    if "port" in fields:
        parts = urlsplit(url)
        if ":" not in parts.netloc.rpartition("@")[2].rpartition("]")[2]:
            url = parts._replace(netloc=f"{parts.netloc}:{fields['port']}").geturl()
    return {"base_url": url, **rest}


def warehouse_url(fields: Mapping[str, Any]) -> str:
    """SQLAlchemy URL of a PostgreSQL connection; a host that is a path is a folder with its socket."""
    host, port, login = str(fields.get("host", "")), fields.get("port"), fields.get("login")
    user = quote(str(login), safe="") if login else ""
    if user and fields.get("password"):
        user += f":{quote(str(fields['password']), safe='')}"
    place = f"{user}@" if user else ""
    query = ""
    if host.startswith("/"):
        query = f"?host={quote(host, safe='')}" + (f"&port={port}" if port else "")
    else:
        place += host + (f":{port}" if port else "")
    return f"postgresql+psycopg://{place}/{quote(str(fields.get('schema', '')), safe='')}{query}"


def _no_connection(conn_id: str, conn_type: str) -> ConfigError:
    return ConfigError(
        f"there is no Airflow connection {conn_id!r}",
        where="Admin, Connections",
        remedy=f"add it there with the type {conn_type!r}, or set AIRFLOW_CONN_{conn_id.upper()}, or change `conn_id` in "
        "include/accounts.yaml",
    )
