"""Omnicomm Online: reports by the dozen of vehicles, shared tokens, three units of volume, errors with status 200."""
