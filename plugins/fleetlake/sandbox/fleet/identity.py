"""Which device is on which vehicle, and what the vehicles are called.

Entities are put together because the generator knows that they are one vehicle; VIN and plate only give the name. So a
matching by VIN and plate is compared with something that is not a matching by VIN and plate.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fleetlake.sandbox.fleet.entities import Entity
from fleetlake.sandbox.fleet.mapping import FOREVER, Listed, Mapping, Mounting

Device = tuple[str, str, str]
"""Vendor, account, id."""


@dataclass(frozen=True)
class Identity:
    """A device on a vehicle, ``[start, end)``."""

    vehicle_key: str
    device: Device
    start: dt.datetime
    end: dt.datetime | None
    matched_by: str
    rank: int
    told_odometer_m: float | None = None

    @property
    def order(self) -> tuple[int, Device]:
        """Smaller = believed first."""
        return self.rank, self.device

    def covers(self, moment: dt.datetime) -> bool:
        """The device was on the vehicle at ``moment``."""
        return self.start <= moment and (self.end is None or moment < self.end)

    def covers_all(self, start: dt.datetime, end: dt.datetime) -> bool:
        """The device was on the vehicle for all of ``[start, end)``."""
        return self.start <= start and (self.end is None or end <= self.end)


class Identities:
    """All identities of the accounts in question."""

    def __init__(self, found: Iterable[Entity], mapping: Mapping) -> None:
        self._mapping = mapping
        self._entities = {(entity.vendor, entity.account, entity.device): entity for entity in found}
        self._keys: dict[str, Listed | None] = {vehicle.key: vehicle for vehicle in mapping.vehicles}
        listed = list(self._listed())
        self.all: list[Identity] = [*listed, *self._matched({identity.device for identity in listed})]
        self.by_device: dict[Device, list[Identity]] = defaultdict(list)
        self.by_vehicle: dict[str, list[Identity]] = defaultdict(list)
        for identity in sorted(self.all, key=lambda item: (item.start, item.order)):
            self.by_device[identity.device].append(identity)
            self.by_vehicle[identity.vehicle_key].append(identity)

    def at(self, device: Device, moment: dt.datetime) -> Identity | None:
        """Where the device is at ``moment``; ``None`` = on no vehicle."""
        return next((identity for identity in self.by_device.get(device, ()) if identity.covers(moment)), None)

    def vehicles(self) -> Iterator[dict[str, Any]]:
        """Rows of ``fleet.vehicle``."""
        for key in {**self._keys, **dict.fromkeys(self.by_vehicle)}:
            identities = sorted(self.by_vehicle.get(key, ()), key=lambda identity: identity.order)
            members = [self._entities[identity.device] for identity in identities]
            told = self._keys.get(key)

            def best(name: str, members: list[Entity] = members) -> Any:
                normal: Callable[[Any], Any] = {"vin": vin_of, "plate": plate_of}.get(name, lambda value: value)
                return next(
                    (value for entity in members if (value := normal(getattr(entity, name))) not in (None, "")), None
                )

            vin = vin_of(told.vin if told else None) or best("vin")
            plate = plate_of(told.plate if told else None) or best("plate")
            yield {
                "vehicle_key": key,
                "name": (told.name if told else None) or best("name") or plate or vin or key,
                "vin": vin,
                "registration_plate": plate,
                "brand": best("brand"),
                "model": best("model"),
                "model_year": best("model_year"),
                "device_count": sum(identity.end is None for identity in identities),
            }

    def _listed(self) -> Iterator[Identity]:
        taken: dict[Device, list[Mounting]] = defaultdict(list)
        for vehicle in self._mapping.vehicles:
            for mounting in vehicle.mountings:
                device = (mounting.vendor, mounting.account, mounting.device)
                if device not in self._entities or any(_overlap(mounting, other) for other in taken[device]):
                    continue
                taken[device].append(mounting)
                rank = self._mapping.ranks[mounting.vendor]
                yield Identity(vehicle.key, device, mounting.start, mounting.end, "file", rank, mounting.odometer_m)

    def _matched(self, listed: set[Device]) -> Iterator[Identity]:
        groups: dict[Any, list[Entity]] = defaultdict(list)
        for device, entity in self._entities.items():
            if device not in listed:
                groups[entity.physical].append(entity)
        for group in groups.values():
            vins = [vin for entity in group if (vin := vin_of(entity.vin))]
            plates = [plate for entity in group if (plate := plate_of(entity.plate))]
            told = self._told(vins, plates)
            for entity in group:
                vin, plate = vin_of(entity.vin), plate_of(entity.plate)
                how = "vin" if vin else "plate" if plate else "alone"
                device = (entity.vendor, entity.account, entity.device)
                shared = told or (f"vin:{vins[0]}" if vins else f"plate:{plates[0]}" if plates else "")
                key = ":".join(device) if how == "alone" else shared
                yield Identity(key, device, FOREVER, None, how, self._mapping.ranks[entity.vendor])

    def _told(self, vins: list[str], plates: list[str]) -> str | None:
        """The vehicle of the file that has this VIN, or this plate, by its own word or by that of its devices."""
        for vehicle in self._mapping.vehicles:
            if set(vins) & self._words(vehicle, "vin", vin_of):
                return vehicle.key
        for vehicle in self._mapping.vehicles:
            both_have_vin = vins and self._words(vehicle, "vin", vin_of)
            if not both_have_vin and set(plates) & self._words(vehicle, "plate", plate_of):
                return vehicle.key
        return None

    def _words(self, vehicle: Listed, name: str, normal: Callable[[str | None], str | None]) -> set[str]:
        devices = {(item.vendor, item.account, item.device) for item in vehicle.mountings}
        elsewhere = {
            (item.vendor, item.account, item.device)
            for other in self._mapping.vehicles
            if other is not vehicle
            for item in other.mountings
        }
        own = [self._entities[device] for device in devices - elsewhere if device in self._entities]
        texts = [getattr(vehicle, name), *(getattr(entity, name) for entity in own)]
        return {word for text in texts if (word := normal(text))}


def vin_of(text: str | None) -> str | None:
    """A VIN in normal form; ``None`` = none."""
    plain = plate_of(text)
    return plain if plain and len(plain) == 17 else None


def plate_of(text: str | None) -> str | None:
    """A plate in normal form; ``None`` = none."""
    plain = "".join(letter for letter in (text or "").upper() if letter.isalnum())
    return plain or None


def _overlap(one: Mounting, other: Mounting) -> bool:
    return (other.end is None or one.start < other.end) and (one.end is None or other.start < one.end)
