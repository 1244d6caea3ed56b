"""Quality: the contract's checks, judged by Great Expectations on every batch before it is published.

``audit`` gives a verdict on a batch, ``build_docs`` turns stored results into Data Docs. Great Expectations takes seconds
to import, so it is imported by ``engine.load`` alone, when the first batch is audited.
"""

from fleetlake.quality.docs import build_docs
from fleetlake.quality.suite import build_suite
from fleetlake.quality.verdict import CheckResult, Rejected, Verdict, audit

__all__ = ["CheckResult", "Rejected", "Verdict", "audit", "build_docs", "build_suite"]
