"""Rules for every tier."""

from __future__ import annotations

import os

import pytest

_skipped: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.skipped:
        _skipped.add(report.nodeid)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.skipped:
        _skipped.add(report.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: a green run must mean that every promise was checked."""
    if _skipped and os.environ.get("CI"):
        print(f"\nskipped in CI, which is a failure: {', '.join(sorted(_skipped))}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
