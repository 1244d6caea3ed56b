"""Commands of ``fleetlake``, a module each: its ``app`` is mounted flat, so that ``fleetlake verify`` is ``verify`` here."""

COMMANDS: tuple[str, ...] = ("plan", "backfill", "coverage", "verify", "why", "quarantine", "lateness", "rebuild")
"""Modules of this package, in the order in which the help lists them."""
