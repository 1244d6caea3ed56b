"""Omnicomm Online."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetlake.hooks.base import FleetHook, with_base_url

if TYPE_CHECKING:
    from fleetlake.reading import Lane
    from fleetlake.vendors.omnicomm.source import OmnicommSource


class OmnicommHook(FleetHook):
    """An Omnicomm account: base URL, login and password.

    Args:
        omnicomm_conn_id: connection of type ``omnicomm``; ``extra`` may hold every setting of ``OmnicommConfig``.
    """

    conn_name_attr = "omnicomm_conn_id"
    default_conn_name = "omnicomm_default"
    conn_type = "omnicomm"
    hook_name = "Omnicomm Online"

    def __init__(self, omnicomm_conn_id: str = default_conn_name) -> None:
        super().__init__(omnicomm_conn_id)

    def get_source(self, lane: Lane) -> OmnicommSource:
        """See ``FleetHook.get_source``."""
        from fleetlake.vendors.omnicomm.client import OmnicommClient
        from fleetlake.vendors.omnicomm.config import OmnicommConfig
        from fleetlake.vendors.omnicomm.source import OmnicommSource

        config = OmnicommConfig.from_mapping(with_base_url(self.fields), f"connection {self.conn_id}")
        gate = self.gate(config.account_key, config.rate_per_s, config.burst)
        tokens = self.tokens(config.account_key, config.password)
        return OmnicommSource(OmnicommClient(config, gate=gate, tokens=tokens, lane=lane))
