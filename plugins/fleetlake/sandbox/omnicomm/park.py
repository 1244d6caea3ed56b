"""Which trucks there are at Omnicomm, what they are, and in which groups. Other rooms share some of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from fleetlake.sandbox.dice import dice
from fleetlake.sandbox.omnicomm.assumptions import OmnicommAssumptions
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import Profile, Vehicle

CUSTOMERS = ("trucks", "other")

TRUCK = Profile(kind="truck", km_per_day=150.0, speed_kmh=(42.0, 50.0), outings=2)
"""A delivery truck: away in the morning, back in the evening, now and then through the night."""

_FIRST_TERMINAL = {"trucks": 202_000_001, "other": 202_500_001}
_MODELS = (
    ("MAN", "TGS 26.400", 4200),
    ("Volvo", "FH 460", 5600),
    ("Scania", "R 410", 6000),
    ("DAF", "CF 340", 4300),
    ("Mercedes-Benz", "Actros 1845", 5200),
)
_VIN = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_LETTERS = "ABCEHKMOPTXY"


@dataclass(frozen=True, eq=False)
class Truck:
    """One vehicle of an Omnicomm account.

    Attributes:
        index: its number in its customer's fleet.
        customer: whose it is.
        vehicle: what it does.
        terminal_id, uuid, name, terminal_type: as in the tree.
        is_receiving: false = mothballed, its data are not taken in.
        vin, plate, garage_number, brand, model, year, colour: as in its profile.
        tank_dl: volume of its tanks together, decilitres.
        tanks: 1 or 2; of two, the second is the smaller.
        litres_per_100km, idle_litres_per_h: consumption under way and standing with the engine on.
        has_rpm: the engine's speed is read; without it all seconds by speed are 0.
    """

    index: int
    customer: str
    vehicle: Vehicle
    terminal_id: int
    uuid: str
    name: str
    terminal_type: str
    is_receiving: bool
    vin: str
    plate: str
    garage_number: str
    brand: str
    model: str
    year: int
    colour: str
    tank_dl: int
    tanks: int
    litres_per_100km: float
    idle_litres_per_h: float
    has_rpm: bool


@dataclass(frozen=True, eq=False)
class Group:
    """A group of a tree; the same truck may be in several.

    Attributes:
        objects, children: ``None`` = the key is missing in the answer.
    """

    id: int
    parent_id: int | None
    name: str
    objects: tuple[Truck, ...] | None
    children: tuple[Group, ...] | None

    def walk(self) -> Iterator[Group]:
        """This group and all below it, parents first."""
        yield self
        for child in self.children or ():
            yield from child.walk()


class Park:
    """All trucks of the room.

    Args:
        context: settings, world, clock.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.assumptions = context.settings.room("omnicomm", OmnicommAssumptions)
        self._seed = context.settings.seed

    def truck(self, index: int) -> Truck:
        """The main customer's truck with this number.

        Raises:
            IndexError: there are not so many.
        """
        return self.trucks("trucks")[index]

    def trucks(self, customer: str) -> Sequence[Truck]:
        """All vehicles of a customer, in the order of their terminal numbers, mothballed and inaccessible ones too."""
        return self._fleets[customer]

    def readable(self, customer: str) -> list[Truck]:
        """Vehicles whose reports the customer may read."""
        return [truck for truck in self.trucks(customer) if truck.terminal_id not in self.poisoned]

    def find(self, text: str) -> Truck | None:
        """The vehicle, of any customer, with this terminal number or uuid."""
        return self._by_id.get(text.strip().lower())

    @cached_property
    def poisoned(self) -> frozenset[int]:
        """Terminal numbers that are in the tree although their reports are denied."""
        return frozenset(int(part) for part in self.assumptions.poisoned.split(",") if part.strip())

    def tree(self, customer: str) -> Group:
        """The root group of a customer: repeated vehicles, an empty group, and groups without one of their lists."""
        trucks = tuple(self.trucks(customer))
        base = 4101 if customer == "trucks" else 8101
        half = (len(trucks) + 1) // 2
        depots = (
            Group(base + 12, base + 10, "Night shift", trucks[1:half:2], None),
            Group(base + 13, base + 10, "Empty yard", (), ()),
        )
        view = Group(base + 31, base + 30, "Depot 2", trucks[half:], ())
        return Group(
            base,
            None,
            "Fleet A" if customer == "trucks" else "Fleet B",
            trucks[:1],
            (
                Group(base + 10, base, "Depot 1", trucks[:half], depots),
                Group(base + 20, base, "Depot 2", trucks[half:], ()),
                # A saved view appears as a group and repeats what it shows.
                Group(base + 30, base, "Fleet A/Depot 2/", None, (view,)),
            ),
        )

    @cached_property
    def _fleets(self) -> dict[str, tuple[Truck, ...]]:
        sizes = {"trucks": self.context.settings.trucks, "other": self.assumptions.other_vehicles}
        return {name: tuple(self._make(name, index, size) for index in range(size)) for name, size in sizes.items()}

    @cached_property
    def _by_id(self) -> dict[str, Truck]:
        known = [truck for fleet in self._fleets.values() for truck in fleet]
        return {str(truck.terminal_id): truck for truck in known} | {truck.uuid: truck for truck in known}

    def _make(self, customer: str, index: int, size: int) -> Truck:
        roll = dice(self._seed, "omnicomm", customer, index)
        fleet = self.context.world.fleet("omnicomm-trucks" if customer == "trucks" else "omnicomm-other", size, TRUCK)
        terminal_id = _FIRST_TERMINAL[customer] + index
        brand, model, tank_dl = roll.choice(_MODELS)
        series = "T" if customer == "trucks" else "Y"
        return Truck(
            index=index,
            customer=customer,
            vehicle=fleet[index],
            terminal_id=terminal_id,
            uuid=str(uuid.uuid3(uuid.NAMESPACE_OID, f"omnicomm {self._seed} {terminal_id}")),
            name=f"TRUCK {index + 1:02d}",
            terminal_type="FTC" if index % 8 == 6 else "FAS",
            is_receiving=index % 8 != 7,
            vin="".join(roll.choice(_VIN) for _ in range(10)) + f"{terminal_id % 10_000_000:07d}",
            plate=f"{roll.choice(_LETTERS)}{index:03d}{roll.choice(_LETTERS)}{series} {roll.randrange(10, 99)}",
            garage_number=f"G-{index + 1:03d}",
            brand=brand,
            model=model,
            year=roll.randrange(2014, 2026),
            colour=roll.choice(("white", "red", "blue", "silver")),
            tank_dl=tank_dl,
            tanks=2 if index % 4 == 1 else 1,
            litres_per_100km=round(roll.uniform(22.0, 30.0), 1),
            idle_litres_per_h=round(roll.uniform(1.6, 2.6), 1),
            has_rpm=index % 4 != 2,
        )
