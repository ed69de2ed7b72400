"""What holds for all tests: no time limit an example, and in CI no test that only seems to have passed."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# Who runs tests in the background ignores these signals, and every child would go on ignoring them.
for _number, _usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)

settings.register_profile("charon", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("charon")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    """Turn a skip into a failure in CI: what was skipped has not been shown. A GPU may be absent there too."""
    outcome = yield
    report = outcome.get_result()
    if os.environ.get("CHARON_CI") and report.skipped and not item.get_closest_marker("gpu"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr[-1] if report.longrepr else ''}"
