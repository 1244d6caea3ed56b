"""OMNI Platform (3DiVi): video analytics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetlake.hooks.base import FleetHook, with_base_url

if TYPE_CHECKING:
    from fleetlake.reading import Lane
    from fleetlake.vendors.omni_platform.source import OmniSource


class OmniPlatformHook(FleetHook):
    """An OMNI Platform workspace: base URL and access token.

    Args:
        omni_platform_conn_id: connection of type ``omni_platform``. The password is the access token; ``extra`` may hold
            every setting of ``OmniConfig``.
    """

    conn_name_attr = "omni_platform_conn_id"
    default_conn_name = "omni_platform_default"
    conn_type = "omni_platform"
    hook_name = "OMNI Platform (3DiVi)"

    def __init__(self, omni_platform_conn_id: str = default_conn_name) -> None:
        super().__init__(omni_platform_conn_id)

    def get_source(self, lane: Lane) -> OmniSource:
        """See ``FleetHook.get_source``."""
        from fleetlake.vendors.omni_platform.client import OmniClient
        from fleetlake.vendors.omni_platform.config import OmniConfig
        from fleetlake.vendors.omni_platform.source import OmniSource

        values = with_base_url(self.fields)
        if "password" in values:
            values["token"] = values.pop("password")
        config = OmniConfig.from_mapping(values, f"connection {self.conn_id}")
        gate = self.gate(config.account_key, config.rate_per_s, config.burst)
        return OmniSource(OmniClient(config, gate=gate, lane=lane))
