"""Airflow hooks: a connection becomes a vendor's source."""

from fleetlake.hooks.base import FleetHook, hook_for, settings_with_warehouse

__all__ = ["FleetHook", "hook_for", "settings_with_warehouse"]
