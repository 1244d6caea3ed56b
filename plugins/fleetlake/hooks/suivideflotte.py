"""SuiviDeFlotte.net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetlake.accounts import load_accounts
from fleetlake.hooks.base import FleetHook, with_base_url
from fleetlake.settings import Settings

if TYPE_CHECKING:
    from fleetlake.reading import Lane
    from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource


class SuiviDeFlotteHook(FleetHook):
    """A SuiviDeFlotte account: a persistent token, or an application key with its user.

    What the customer's lists and fields are called stands in ``include/suivideflotte``, in the file of the account that
    uses the connection, else in ``default.yaml``.

    Args:
        suivideflotte_conn_id: connection of type ``suivideflotte``. Login and password are those of an application key's
            user; ``extra`` may hold every setting of ``SuiviDeFlotteConfig``.
    """

    conn_name_attr = "suivideflotte_conn_id"
    default_conn_name = "suivideflotte_default"
    conn_type = "suivideflotte"
    hook_name = "SuiviDeFlotte.net"

    def __init__(self, suivideflotte_conn_id: str = default_conn_name) -> None:
        super().__init__(suivideflotte_conn_id)

    def get_source(self, lane: Lane) -> SuiviDeFlotteSource:
        """See ``FleetHook.get_source``."""
        from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
        from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
        from fleetlake.vendors.suivideflotte.fieldmap import load_fieldmap
        from fleetlake.vendors.suivideflotte.source import SuiviDeFlotteSource

        values = with_base_url(self.fields)
        if "login" in values:
            values["username"] = values.pop("login")
        config = SuiviDeFlotteConfig.from_mapping(values, f"connection {self.conn_id}")
        gate = self.gate(config.account_key, config.rate_per_s, config.burst)
        # The store's key is made of the key's secret: whoever may use the one may use the other.
        tokens = self.tokens(config.token_key, config.client_secret) if config.client_secret else None
        client = SuiviDeFlotteClient(config, gate=gate, tokens=tokens, lane=lane)
        return SuiviDeFlotteSource(client, load_fieldmap(self._account()))

    def _account(self) -> str:
        """Name of the account that uses this connection: its answers are decoded with the same mapping file."""
        accounts = load_accounts(Settings.from_env().include)
        uses = (item.name for item in accounts if (item.vendor, item.conn_id) == (self.conn_type, self.conn_id))
        return next(uses, "default")
