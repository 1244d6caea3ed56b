"""Which vehicles there are at RCS, what they are, and who may see them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from fleetlake.errors import ConfigError
from fleetlake.sandbox.dice import dice, number
from fleetlake.sandbox.rcs.assumptions import RcsAssumptions
from fleetlake.sandbox.rooms import Context
from fleetlake.sandbox.world import Vehicle

CUSTOMERS = {"main": "client", "other": "client_other"}
"""Certificate by customer."""

_MODELS = (
    ("Volkswagen", "Passat", 66.0),
    ("Skoda", "Octavia", 50.0),
    ("Ford", "Transit", 70.0),
    ("Toyota", "Corolla", 43.0),
    ("Hyundai", "Tucson", 54.0),
    ("Renault", "Kangoo", 54.0),
)
_VIN = "ABCDEFGHJKLMNPRSTUVWXYZ0123456789"
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_RIGHTLESS, _OTHER = 1_000_000, 1_040_000
"""First slot of vehicles without rights and of the second customer; all slots fit 20 bits of a revision."""


@dataclass(frozen=True, eq=False)
class Car:
    """One connected vehicle.

    Attributes:
        slot: its number among all vehicles of the sandbox; part of revisions and ids.
        vehicle: what it does.
        customer: the client it is bound to.
        readable: that client may read it.
        tank_l, litres_per_100km: for fuel quantities.
        reads_codes: its firmware reads trouble codes in self-diagnostics.
        uds: its control units obey ISO 14229-1 D.2.
    """

    slot: int
    vehicle: Vehicle
    customer: str
    readable: bool
    id: str
    vin: str
    source_id: str | None
    plate: str | None
    brand: str
    model: str
    year: int
    device: str
    firmware: str
    tank_l: float
    litres_per_100km: float
    reads_codes: bool
    uds: bool


class Park:
    """All vehicles of the room, made when asked for."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.assumptions = context.settings.room("rcs", RcsAssumptions)
        self._seed = context.settings.seed
        if context.settings.vehicles > _RIGHTLESS:
            raise ConfigError(f"{context.settings.vehicles} vehicles", where="--vehicles", remedy=f"at most {_RIGHTLESS}")
        self._car = lru_cache(maxsize=20_000)(self._make)

    @cached_property
    def _ranges(self) -> Sequence[tuple[str, bool, range]]:
        sizes = self.assumptions
        return (
            ("main", True, range(self.context.settings.vehicles)),
            ("main", False, range(_RIGHTLESS, _RIGHTLESS + sizes.rightless_vehicles)),
            ("other", True, range(_OTHER, _OTHER + sizes.other_vehicles)),
        )

    def readable(self, customer: str) -> Iterator[Car]:
        """Vehicles that ``customer`` may read, by slot."""
        for owner, readable, slots in self._ranges:
            if owner == customer and readable:
                yield from map(self._car, slots)

    def bound(self, customer: str) -> Iterator[Car]:
        """Vehicles of ``customer``, rights or not."""
        for owner, _, slots in self._ranges:
            if owner == customer:
                yield from map(self._car, slots)

    def find(self, guid: str) -> Car | None:
        """The vehicle with this id, in any case of its letters."""
        slot = int(guid[-12:], 16) ^ self._mask
        if not any(slot in slots for _, _, slots in self._ranges):
            return None
        car = self._car(slot)
        return car if car.id == guid.lower() else None

    @cached_property
    def _mask(self) -> int:
        return number(self._seed, "rcs", "guid") & 0xFFFF_FFF0_0000

    def _guid(self, slot: int, what: str) -> str:
        text = f"{number(self._seed, 'rcs', what, slot):016x}"
        return f"{text[:8]}-{text[8:12]}-4{text[12:15]}-a{text[13:16]}-{slot ^ self._mask:012x}"

    def _make(self, slot: int) -> Car:
        owner, readable, slots = next(item for item in self._ranges if slot in item[2])
        roll = dice(self._seed, "rcs", "car", slot)
        brand, model, tank = roll.choice(_MODELS)
        reads_codes = slot % 7 == 3
        fleet = self.context.world.fleet(f"rcs-{owner}-{'open' if readable else 'closed'}", len(slots))
        return Car(
            slot=slot,
            vehicle=fleet[slot - slots.start],
            customer=owner,
            readable=readable,
            id=self._guid(slot, "vehicle"),
            vin="".join(roll.choice(_VIN) for _ in range(10)) + f"{slot:07d}",
            source_id=None if slot % 5 == 4 else f"CRM-{slot:06d}",
            plate=None if slot % 6 == 5 else f"{roll.choice('ABCEHKMOPTXY')}{roll.randrange(1000):03d}{roll.choice('ABC')}K",
            brand=brand,
            model=model,
            year=roll.randrange(2016, 2026),
            device=self._guid(slot, "device"),
            firmware=f"4.{roll.randrange(3, 9)}.{roll.randrange(20)}{'-OBD' if reads_codes else ''}",
            tank_l=tank,
            litres_per_100km=round(roll.uniform(5.5, 9.0), 2),
            reads_codes=reads_codes,
            uds=slot % 5 != 2,
        )


def is_guid(text: str) -> bool:
    """Text has the form of a GUID, in any case."""
    return bool(_GUID.match(text.lower()))
