"""What a run does: plan, extract to raw, publish to lake and warehouse, certify."""

from fleetlake.pipeline.flow import Pipeline
from fleetlake.pipeline.run import Run

__all__ = ["Pipeline", "Run"]
