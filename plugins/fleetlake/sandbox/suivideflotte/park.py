"""Which vehicles, drivers and points of interest each customer has; some vehicles are those of other vendors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from fleetlake.errors import ConfigError
from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.omnicomm.park import Park as TruckPark
from fleetlake.sandbox.rcs.park import Park as RcsPark
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.suivideflotte.assumptions import SuiviDeFlotteAssumptions
from fleetlake.sandbox.world import DAY_S, Place, Vehicle

CUSTOMERS = ("france", "other")

MOST_CARS = 1 << 15
"""Vehicles of one customer; the number is part of the ids of trips."""

_TWINS_AT_RCS, _TWINS_AT_OMNICOMM, _MISTYPED = range(3), range(3, 5), 5
_FIRST_CAR, _FIRST_DRIVER, _FIRST_POI = 40_001, 7_001, 301
_PER_CUSTOMER = 1_000_000
_VIN = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_MODELS = (("Renault", "Kangoo"), ("Peugeot", "Partner"), ("Citroën", "Berlingo"), ("Renault", "Mégane"), ("Peugeot", "308"))
_STREETS = ("rue de l'Église", "avenue Jean Jaurès", "rue du Général Leclerc", "chemin des Prés", "quai de la Gare")
_TOWNS = ("69003 Lyon", "67000 Strasbourg", "25000 Besançon", "42000 Saint-Étienne", "38000 Grenoble")


@dataclass(frozen=True, eq=False)
class Car:
    """One vehicle.

    Attributes:
        index: its number in its customer's fleet.
        ordinal: its number among all vehicles of the room, below 2**16.
        vehicle: what it does.
        drivers_from: number of the customer's driver who is driver 0 of the vehicle's fleet in the world.
    """

    index: int
    ordinal: int
    customer: str
    vehicle: Vehicle
    drivers_from: int
    id: int
    id_sdf: str
    name: str
    plate: str | None
    brand: str | None
    model: str | None
    vin: str | None
    group_id: int | None
    driver_id: int | None
    active: bool
    colour: str


@dataclass(frozen=True)
class Driver:
    """A driver; ``updated`` in seconds since 1970."""

    id: int
    name: str
    external_ref: str | None
    badge: str | None
    active: bool
    updated: int


@dataclass(frozen=True)
class Poi:
    """A point of interest, metres and degrees."""

    id: int
    name: str
    latitude: float
    longitude: float
    radius_m: int
    address: str | None
    category_id: int | None
    external_ref: str | None


class Park:
    """All that the customers own.

    Raises:
        ConfigError: too many vehicles.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.assumptions = context.settings.room("suivideflotte", SuiviDeFlotteAssumptions)
        self.deleted_trips = frozenset(map(int, self.assumptions.deleted_trips.split()))
        self._seed = context.settings.seed
        self._sizes = {"france": context.settings.cars, "other": self.assumptions.other_vehicles}
        if max(self._sizes.values()) > MOST_CARS:
            raise ConfigError(f"{max(self._sizes.values())} vehicles", where="--cars", remedy=f"at most {MOST_CARS}")

    def cars(self, customer: str) -> Sequence[Car]:
        """Vehicles of a customer, by id."""
        return self._cars[customer]

    def find(self, customer: str, identity: int) -> Car | None:
        """The customer's vehicle with this id; those of others do not exist for him."""
        return next((car for car in self.cars(customer) if car.id == identity), None)

    def drivers(self, customer: str) -> list[Driver]:
        """One per vehicle, by id."""
        return [self._driver(customer, index) for index in range(self._sizes[customer])]

    def pois(self, customer: str) -> list[Poi]:
        """Points of interest, by id: depots, and places near the vehicles' homes."""
        size = self.assumptions.pois if customer == "france" else 3
        return [self._poi(customer, index) for index in range(size)]

    def driver_id(self, car: Car, driver: int) -> int:
        """Vendor id of the driver whom the world calls ``driver`` (``Ride.driver``)."""
        return self._base(car.customer) + _FIRST_DRIVER + car.drivers_from + driver

    @staticmethod
    def _base(customer: str) -> int:
        return CUSTOMERS.index(customer) * _PER_CUSTOMER

    @cached_property
    def _cars(self) -> dict[str, tuple[Car, ...]]:
        return {
            customer: tuple(self._car(customer, index, size) for index in range(size))
            for customer, size in self._sizes.items()
        }

    def _car(self, customer: str, index: int, size: int) -> Car:
        roll = dice(self._seed, "suivideflotte", customer, "car", index)
        brand, model = roll.choice(_MODELS)
        letters = [roll.choice("ABCDEFGHJKLMNPQRSTVWXYZ") for _ in range(4)]
        plate: str | None = f"{letters[0]}{letters[1]}-{roll.randrange(100, 1000)}-{letters[2]}{letters[3]}"
        vin: str | None = "VF1" + "".join(roll.choice(_VIN) for _ in range(7)) + f"{self._ordinal(customer, index):07d}"
        if index % 8 == 7:
            plate = None
        elif index % 8 == 6:
            vin = None
        vehicle, drivers_from = self.context.world.fleet(f"suivideflotte-{customer}", size)[index], 0
        if customer == "france" and (twin := self._twin(index)):
            vehicle, plate, vin, brand, model = twin
            drivers_from = index - vehicle.index
        elif customer == "france" and index == _MISTYPED:
            plate = self._truck_plate(2) or plate
        identity = self._base(customer) + _FIRST_CAR + index
        return Car(
            index=index,
            ordinal=self._ordinal(customer, index),
            customer=customer,
            vehicle=vehicle,
            drivers_from=drivers_from,
            id=identity,
            id_sdf=f"SDF{identity:07d}",
            name=f"Véhicule n° {index + 1}",
            plate=plate,
            brand=brand,
            model=model,
            vin=vin,
            group_id=None if index % 5 == 4 else 11 + index % 3,
            driver_id=None if index % 6 == 5 else self._base(customer) + _FIRST_DRIVER + index,
            active=index % 9 != 8,
            colour=("blanc", "gris", "bleu")[index % 3],
        )

    @staticmethod
    def _ordinal(customer: str, index: int) -> int:
        return CUSTOMERS.index(customer) * MOST_CARS + index

    def _twin(self, index: int) -> tuple[Vehicle, str | None, str | None, str, str] | None:
        """The other vendor's vehicle with this number here: its deeds, plate, VIN, brand and model."""
        if index in _TWINS_AT_RCS and index < self.context.settings.vehicles:
            cars = RcsPark(self.context).readable("main")
            other = next(car for position, car in enumerate(cars) if position == index)
            return other.vehicle, other.plate, other.vin, other.brand, other.model
        at = index - _TWINS_AT_OMNICOMM.start
        if index in _TWINS_AT_OMNICOMM and at < self.context.settings.trucks:
            truck = TruckPark(self.context).truck(at)
            return truck.vehicle, truck.plate, None, truck.brand, truck.model
        return None

    def _truck_plate(self, index: int) -> str | None:
        return TruckPark(self.context).truck(index).plate if index < self.context.settings.trucks else None

    def _driver(self, customer: str, index: int) -> Driver:
        person = self.context.world.fleet(f"suivideflotte-{customer}", self._sizes[customer]).driver(index)
        first = self.context.world.first_day * DAY_S
        return Driver(
            id=self._base(customer) + _FIRST_DRIVER + index,
            name=person.name,
            external_ref=None if index % 4 == 3 else f"RH-{index + 1:04d}",
            badge=None if index % 5 == 4 else person.unique_id,
            active=index % 9 != 8,
            updated=first - number(self._seed, "suivideflotte", customer, "driver", index) % (400 * DAY_S),
        )

    def _poi(self, customer: str, index: int) -> Poi:
        roll = dice(self._seed, "suivideflotte", customer, "poi", index)
        cars = self.cars(customer)
        home = cars[index % len(cars)].vehicle.home if cars else Place(45.76, 4.84, 0)
        latitude, longitude = round(home.latitude + roll.uniform(-0.01, 0.01), 6), round(home.longitude, 6)
        kind = ("Dépôt", "Client", "Station-service")[index % 3]
        return Poi(
            id=self._base(customer) + _FIRST_POI + index,
            name=f"{kind} {index + 1}",
            latitude=latitude,
            longitude=longitude,
            radius_m=roll.choice((50, 100, 150, 250)),
            address=self.address(latitude, longitude),
            category_id=None if index % 4 == 3 else 1 + index % 3,
            external_ref=None if index % 2 else f"SITE-{index + 1:03d}",
        )

    def address(self, latitude: float, longitude: float) -> str | None:
        """Address of a place as the vendor's geocoder finds it: the same for the same spot, now and then none."""
        spot = number(self._seed, "address", round(latitude, 3), round(longitude, 3))
        if spot % 9 == 0:
            return None
        house, street, town = spot // 9 % 120 + 1, spot // 1080 % len(_STREETS), spot // 5400 % len(_TOWNS)
        return f"{house} {_STREETS[street]}, {_TOWNS[town]}"
