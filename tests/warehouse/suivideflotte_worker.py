"""A process that lists SuiviDeFlotte's vehicles with an application key, its token shared through the warehouse.

Reads ``{"warehouse", "fields"}`` from stdin, prints the number of vehicles.
"""

from __future__ import annotations

import json
import sys

from fleetlake.http.rate_gate import LocalGate
from fleetlake.http.tokens import PostgresTokens
from fleetlake.vendors.suivideflotte.client import SuiviDeFlotteClient
from fleetlake.vendors.suivideflotte.config import SuiviDeFlotteConfig
from fleetlake.vendors.suivideflotte.decode import listing

if __name__ == "__main__":
    asked = json.load(sys.stdin)
    config = SuiviDeFlotteConfig.from_mapping(asked["fields"])
    tokens = PostgresTokens(asked["warehouse"], config.token_key, str(config.client_secret))
    client = SuiviDeFlotteClient(config, gate=LocalGate(1e6, burst=1e6), tokens=tokens)
    print(len(listing(client.page("/vehicles", {}, page=1).body).data))
