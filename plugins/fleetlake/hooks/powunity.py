"""PowUnity BikeTrax, a Traccar server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetlake.hooks.base import FleetHook, with_base_url

if TYPE_CHECKING:
    from fleetlake.reading import Lane
    from fleetlake.vendors.powunity.source import PowUnitySource


class PowUnityHook(FleetHook):
    """A PowUnity account: base URL, and e-mail and password or a token.

    Args:
        powunity_conn_id: connection of type ``powunity``. Login and password are e-mail and password; ``extra`` may hold
            every setting of ``PowUnityConfig``.
    """

    conn_name_attr = "powunity_conn_id"
    default_conn_name = "powunity_default"
    conn_type = "powunity"
    hook_name = "PowUnity BikeTrax (Traccar)"

    def __init__(self, powunity_conn_id: str = default_conn_name) -> None:
        super().__init__(powunity_conn_id)

    def get_source(self, lane: Lane) -> PowUnitySource:
        """See ``FleetHook.get_source``."""
        from fleetlake.vendors.powunity.client import PowUnityClient
        from fleetlake.vendors.powunity.config import PowUnityConfig
        from fleetlake.vendors.powunity.source import PowUnitySource

        values = with_base_url(self.fields)
        if "login" in values:
            values["email"] = values.pop("login")
        config = PowUnityConfig.from_mapping(values, f"connection {self.conn_id}")
        gate = self.gate(config.account_key, config.rate_per_s, config.burst)
        return PowUnitySource(PowUnityClient(config, gate=gate, lane=lane))
