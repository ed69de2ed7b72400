"""Settings of all tests: Hypothesis without a deadline, and no skipped tests in CI."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A shell starts background jobs with these signals ignored, and child processes would inherit that.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

settings.register_profile("charon", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("charon")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Turn a skipped test into a failure in CI, unless it needs a GPU."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("CHARON_CI") and report.skipped and not item.get_closest_marker("gpu"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr[-1] if report.longrepr else ''}"
