"""What holds for all tests: no example is refused for being slow on a machine that has other things to do."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("charon", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("charon")
