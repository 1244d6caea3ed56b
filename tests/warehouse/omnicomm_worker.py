"""A process that lists Omnicomm's vehicles, its token shared through the warehouse.

Reads ``{"warehouse", "fields"}`` from stdin, prints the number of vehicles.
"""

from __future__ import annotations

import json
import sys

from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import PostgresTokens
from fleetlake.vendors.omnicomm.client import OmnicommClient
from fleetlake.vendors.omnicomm.config import OmnicommConfig
from fleetlake.vendors.omnicomm.decode import split

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    config = OmnicommConfig.from_mapping(asked["fields"])
    tokens = PostgresTokens(asked["warehouse"], config.account_key, config.password)
    client = OmnicommClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens)
    print(len(split("vehicle_tree", "omnicomm.vehicle", client.tree().body)))
