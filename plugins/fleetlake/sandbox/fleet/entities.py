"""What each vendor says about its vehicles, and which physical vehicle the generator knows behind each."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fleetlake.sandbox.omnicomm.park import Park as TruckPark
from fleetlake.sandbox.powunity.customers import CUSTOMERS, Customer
from fleetlake.sandbox.rcs.park import Park
from fleetlake.sandbox.rooms import Context, room
from fleetlake.sandbox.suivideflotte.park import Park as CarPark

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Entity:
    """A vehicle or tracker as a vendor knows it.

    Attributes:
        physical: the same for two entities exactly when they are one vehicle of the world.
    """

    vendor: str
    account: str
    device: str
    physical: Hashable
    name: str | None = None
    vin: str | None = None
    plate: str | None = None
    brand: str | None = None
    model: str | None = None
    model_year: int | None = None


def entities(context: Context, vendor: str, account: str) -> Iterator[Entity]:
    """All vehicles of an account; none for a vendor without vehicles."""
    if vendor in _READERS:
        yield from _READERS[vendor](context, account)


def _rcs(context: Context, account: str) -> Iterator[Entity]:
    cars = {car.id: car.vehicle for car in Park(context).readable(account)}
    for row in room("rcs").truth(context, "vehicle", None, account):
        yield Entity(
            "rcs",
            account,
            row["vehicle_id"],
            cars[row["vehicle_id"]].key,
            vin=row["vin"],
            plate=row["registration_plate"],
            brand=row["brand"],
            model=row["model"],
            model_year=row["model_year"],
        )


def _powunity(context: Context, account: str) -> Iterator[Entity]:
    customer = Customer(context, CUSTOMERS.index(account))
    for bike in customer.bikes():
        yield Entity("powunity", account, str(bike.id), bike.vehicle.key, name=bike.name)


def _omnicomm(context: Context, account: str) -> Iterator[Entity]:
    trucks = {truck.terminal_id: truck.vehicle for truck in TruckPark(context).trucks(account)}
    profiles = {row["terminal_id"]: row for row in room("omnicomm").truth(context, "vehicle_profile", None, account)}
    for row in room("omnicomm").truth(context, "vehicle", None, account):
        number = row["terminal_id"]
        profile = profiles.get(number, {})
        yield Entity(
            "omnicomm",
            account,
            str(number),
            trucks[number].key,
            name=row["name"],
            vin=profile.get("vin"),
            plate=profile.get("registration_plate"),
            brand=profile.get("brand"),
            model=profile.get("model"),
            model_year=profile.get("model_year"),
        )


def _suivideflotte(context: Context, account: str) -> Iterator[Entity]:
    cars = {car.id: car.vehicle for car in CarPark(context).cars(account)}
    for row in room("suivideflotte").truth(context, "vehicle", None, account):
        yield Entity(
            "suivideflotte",
            account,
            str(row["vehicle_id"]),
            cars[row["vehicle_id"]].key,
            name=row["name"],
            vin=row["vin"],
            plate=row["registration_plate"],
            brand=row["brand"],
            model=row["model"],
        )


_READERS: dict[str, Callable[[Context, str], Iterator[Entity]]] = {
    "rcs": _rcs,
    "powunity": _powunity,
    "omnicomm": _omnicomm,
    "suivideflotte": _suivideflotte,
}
