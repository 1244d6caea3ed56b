"""Which device belongs to which vehicle, and when. Pure: entities and the mapping file in, tables out."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fleetlake.fleet.mapping import BEGINNING, MappedDevice, VehicleFile, normal

Device = tuple[str, str, str]
"""Vendor, account, the vendor's id as text."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A vehicle or device as its vendor lists it."""

    vendor: str
    account: str
    id: str
    name: str | None = None
    vin: str | None = None
    plate: str | None = None
    brand: str | None = None
    model: str | None = None
    model_year: int | None = None

    @property
    def device(self) -> Device:
        """What identifies it."""
        return self.vendor, self.account, self.id

    @property
    def key(self) -> str:
        """Vehicle key of a device that matches nothing."""
        return ":".join(self.device)

    @property
    def normal_vin(self) -> str | None:
        """The VIN in normal form; ``None`` when it is not one."""
        vin = normal(self.vin)
        return vin if vin and len(vin) == 17 else None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A row of ``fleet.vehicle_identity``; ``odometer_m`` is the file's reading at ``valid_from``."""

    vendor: str
    account: str
    vendor_vehicle_id: str
    valid_from: dt.datetime
    vehicle_key: str
    valid_to: dt.datetime | None
    matched_by: str
    rank: int
    odometer_m: float | None = None

    @property
    def device(self) -> Device:
        """The device."""
        return self.vendor, self.account, self.vendor_vehicle_id


@dataclass(frozen=True, kw_only=True)
class Vehicle:
    """A row of ``fleet.vehicle``."""

    vehicle_key: str
    name: str
    vin: str | None
    registration_plate: str | None
    brand: str | None
    model: str | None
    model_year: int | None
    device_count: int


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """A row of ``fleet.vehicle_conflict``."""

    kind: str
    subject: str
    details: str


@dataclass(frozen=True)
class Resolution:
    """The vehicles, which devices they have, and what is in doubt."""

    vehicles: list[Vehicle]
    identities: list[Identity]
    conflicts: list[Conflict]


@dataclass(eq=False)
class _Group:
    """A vehicle in the making."""

    file_id: str | None = None
    vins: set[str] = field(default_factory=set)
    plates: set[str] = field(default_factory=set)


def resolve(entities: Iterable[Entity], file: VehicleFile) -> Resolution:
    """Match entities to vehicles.

    The mapping file comes first: its devices belong to its vehicles in its intervals. Other entities with one VIN are one
    vehicle; one without a VIN joins the only vehicle that has its plate. What fits several vehicles stays alone and is
    reported. The result depends on nothing but the arguments, in whatever order the entities come.
    """
    found = sorted(entities, key=lambda item: item.device)
    known = {entity.device: entity for entity in found}
    identities, conflicts = _assigned_by_file(file, known)
    matcher = _Matcher(file, known)
    listed = {(item.vendor, item.account, item.id) for vehicle in file.vehicles for item in vehicle.devices}
    for entity, key, matched_by in matcher.match([entity for entity in found if entity.device not in listed]):
        identities.append(
            Identity(
                vendor=entity.vendor,
                account=entity.account,
                vendor_vehicle_id=entity.id,
                valid_from=BEGINNING,
                vehicle_key=key,
                valid_to=None,
                matched_by=matched_by,
                rank=file.rank(entity.vendor),
            )
        )
    identities.sort(key=lambda item: (*item.device, item.valid_from))
    conflicts += matcher.conflicts
    return Resolution(_vehicles(file, identities, known), identities, sorted(conflicts, key=lambda c: (c.kind, c.subject)))


def _assigned_by_file(file: VehicleFile, known: dict[Device, Entity]) -> tuple[list[Identity], list[Conflict]]:
    taken: dict[Device, list[tuple[str, MappedDevice]]] = defaultdict(list)
    doubtful: dict[tuple[str, Device], set[str]] = defaultdict(set)
    identities = []
    for vehicle in file.vehicles:
        for item in vehicle.devices:
            device = (item.vendor, item.account, item.id)
            if device not in known:
                doubtful["unknown_device", device].add(vehicle.id)
                continue
            others = [owner for owner, other in taken[device] if _overlap(item, other)]
            if others:
                doubtful["overlapping_assignment", device] |= {vehicle.id, *others}
                continue
            taken[device].append((vehicle.id, item))
            identities.append(
                Identity(
                    vendor=item.vendor,
                    account=item.account,
                    vendor_vehicle_id=item.id,
                    valid_from=item.valid_from,
                    vehicle_key=vehicle.id,
                    valid_to=item.valid_to,
                    matched_by="file",
                    rank=file.rank(item.vendor),
                    odometer_m=item.odometer_m,
                )
            )
    conflicts = [
        Conflict(kind=kind, subject=":".join(device), details=", ".join(sorted(owners)))
        for (kind, device), owners in doubtful.items()
    ]
    return identities, conflicts


def _overlap(one: MappedDevice, other: MappedDevice) -> bool:
    return (other.valid_to is None or one.valid_from < other.valid_to) and (
        one.valid_to is None or other.valid_from < one.valid_to
    )


class _Matcher:
    """Automatic matching by VIN and plate, beside the vehicles of the file."""

    def __init__(self, file: VehicleFile, known: dict[Device, Entity]) -> None:
        self.conflicts: list[Conflict] = []
        self._groups: list[_Group] = []
        self._by_vin: dict[str, _Group] = {}
        owners: dict[Device, set[str]] = defaultdict(set)
        for vehicle in file.vehicles:
            for item in vehicle.devices:
                owners[item.vendor, item.account, item.id].add(vehicle.id)
        for vehicle in file.vehicles:
            group = self._group(vehicle.id)
            vins, plates = {normal(vehicle.vin)}, {normal(vehicle.plate)}
            for item in vehicle.devices:
                device = (item.vendor, item.account, item.id)
                # A device that moved tells the VIN and plate of one vehicle only, and not of which.
                if device in known and len(owners[device]) == 1:
                    vins.add(known[device].normal_vin)
                    plates.add(normal(known[device].plate))
            group.plates = {plate for plate in plates if plate}
            for vin in sorted(vin for vin in vins if vin and vin not in self._by_vin):
                group.vins.add(vin)
                self._by_vin[vin] = group

    def match(self, entities: Sequence[Entity]) -> list[tuple[Entity, str, str]]:
        """Each entity with its vehicle's key and how it was found."""
        for entity in entities:
            if vin := entity.normal_vin:
                group = self._by_vin.get(vin) or self._group()
                self._by_vin[vin] = group
                group.vins.add(vin)
                if plate := normal(entity.plate):
                    group.plates.add(plate)
        by_plate = self._plates()
        return [(entity, *self._place(entity, by_plate)) for entity in entities]

    def _group(self, file_id: str | None = None) -> _Group:
        group = _Group(file_id)
        self._groups.append(group)
        return group

    def _plates(self) -> dict[str, list[_Group]]:
        """Vehicles by plate. A vehicle of the file without VIN is the one with VIN that has its plate, if there is just one."""
        by_plate = self._by_plate()
        for plate, groups in sorted(by_plate.items()):
            vins = sorted({vin for group in groups for vin in group.vins})
            if len({id(group) for group in groups if group.vins}) > 1:
                self.conflicts.append(Conflict(kind="same_plate_different_vin", subject=plate, details=", ".join(vins)))
            elif len(groups) == 2:
                mapped = [group for group in groups if group.file_id and not group.vins]
                others = [group for group in groups if group.vins and not group.file_id]
                if len(mapped) == len(others) == 1:
                    self._merge(mapped[0], others[0])
        return self._by_plate()

    def _by_plate(self) -> dict[str, list[_Group]]:
        by_plate: dict[str, list[_Group]] = defaultdict(list)
        for group in self._groups:
            for plate in group.plates:
                by_plate[plate].append(group)
        return by_plate

    def _merge(self, mapped: _Group, other: _Group) -> None:
        mapped.vins |= other.vins
        mapped.plates |= other.plates
        self._groups.remove(other)
        for vin in other.vins:
            self._by_vin[vin] = mapped

    def _place(self, entity: Entity, by_plate: dict[str, list[_Group]]) -> tuple[str, str]:
        if vin := entity.normal_vin:
            return _key(self._by_vin[vin]), "vin"
        plate = normal(entity.plate)
        if plate is None:
            return entity.key, "alone"
        groups = by_plate.get(plate, [])
        if len(groups) > 1:
            keys = ", ".join(sorted(_key(group) for group in groups))
            self.conflicts.append(Conflict(kind="ambiguous_plate", subject=entity.key, details=keys))
            return entity.key, "alone"
        return (_key(groups[0]) if groups else f"plate:{plate}"), "plate"


def _key(group: _Group) -> str:
    return group.file_id or (f"vin:{min(group.vins)}" if group.vins else f"plate:{min(group.plates)}")


def _vehicles(file: VehicleFile, identities: Sequence[Identity], known: dict[Device, Entity]) -> list[Vehicle]:
    members: dict[str, list[Identity]] = {vehicle.id: [] for vehicle in file.vehicles}
    for identity in identities:
        members.setdefault(identity.vehicle_key, []).append(identity)
    mapped = {vehicle.id: vehicle for vehicle in file.vehicles}
    vehicles = []
    for key, own in sorted(members.items()):
        ordered = sorted(own, key=lambda item: (item.rank, *item.device))
        entities = [known[item.device] for item in ordered]
        listed = mapped.get(key)
        vin = normal(listed.vin if listed else None) or _first(entity.normal_vin for entity in entities)
        plate = normal(listed.plate if listed else None) or _first(normal(entity.plate) for entity in entities)
        name = (listed.name if listed else None) or _first(entity.name or None for entity in entities)
        vehicles.append(
            Vehicle(
                vehicle_key=key,
                name=name or plate or vin or key,
                vin=vin,
                registration_plate=plate,
                brand=_first(entity.brand or None for entity in entities),
                model=_first(entity.model or None for entity in entities),
                model_year=next((entity.model_year for entity in entities if entity.model_year is not None), None),
                device_count=len({item.device for item in own if item.valid_to is None}),
            )
        )
    return vehicles


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)
