"""What is known about completeness: intervals with a state and its proof. Pure logic; ``warehouse`` keeps them."""

from fleetlake.coverage.intervals import (
    PROVEN,
    Interval,
    State,
    carve,
    clip,
    merge,
    missing,
    overlay,
    proven,
    refused,
    unproven,
)

__all__ = ["PROVEN", "Interval", "State", "carve", "clip", "merge", "missing", "overlay", "proven", "refused", "unproven"]
