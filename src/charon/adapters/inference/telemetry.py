"""Disable the usage reports that OpenVINO and ONNX Runtime send to their makers.

A beamline's programs connect only to the services that their user configures.
"""

from __future__ import annotations

import sys
from typing import Any, cast

from charon.settings import environment


def disable_telemetry() -> None:
    """Disable the reports; call it before OpenVINO or ONNX Runtime is imported.

    OpenVINO reports each import if the package ``openvino_telemetry``, one of its requirements, can be imported.
    ONNX Runtime 1.32 writes a device id and a queue of events to ``~/.cache/Microsoft`` unless its variable is set;
    its ``disable_telemetry_events`` does not prevent that.
    """
    cast("dict[str, Any]", sys.modules).setdefault("openvino_telemetry", None)
    environment.set_defaults({"ORT_DISABLE_TELEMETRY": "1"})
