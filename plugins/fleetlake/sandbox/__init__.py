"""The vendors, simulated on loopback: deterministic from a seed, with the vendors' traps and with faults on demand.

The world (``world.py``) knows what vehicles do; a *room* per vendor (``rooms.py`` lists them) tells it in the vendor's
words. The sandbox knows nothing of fleetlake's clients.
"""
