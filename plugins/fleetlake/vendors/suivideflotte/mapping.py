"""SuiviDeFlotte columns that no single vendor field holds: none, the account's mapping file names them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fleetlake.reading import Derivation

IDENTITIES: Sequence[str] = ("vehicle_id", "registration_plate", "vin", "name", "old_service_id")
"""Columns of ``suivideflotte.vehicle`` by which people may name a vehicle."""

DERIVATIONS: Mapping[str, Derivation] = {}
