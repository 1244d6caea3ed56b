"""Everything the room knows, put together once."""

from __future__ import annotations

from fleetlake.sandbox.omnicomm.driving import Driving
from fleetlake.sandbox.omnicomm.events import Events
from fleetlake.sandbox.omnicomm.fuel import Fuel
from fleetlake.sandbox.omnicomm.journal import Journal
from fleetlake.sandbox.omnicomm.park import Park
from fleetlake.sandbox.omnicomm.profiles import Profiles
from fleetlake.sandbox.omnicomm.totals import Reckoning
from fleetlake.sandbox.omnicomm.track import Track
from fleetlake.sandbox.omnicomm.zones import Visits, Zones
from fleetlake.sandbox.rooms import Context


class Model:
    """The parts of one sandbox's room, with their caches."""

    def __init__(self, context: Context) -> None:
        self.clock = context.clock
        self.park = Park(context)
        self.driving = Driving(self.park)
        self.fuel = Fuel(self.driving)
        self.track = Track(self.park)
        self.reckoning = Reckoning(self.park, self.driving, self.fuel, self.track)
        self.events = Events(self.driving)
        self.zones = Zones(self.park)
        self.visits = Visits(self.driving, self.reckoning, self.track)
        self.journal = Journal(self.driving, self.fuel, self.track)
        self.profiles = Profiles(self.driving, self.fuel, self.track)
