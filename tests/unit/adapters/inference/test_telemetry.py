"""The inference libraries send no usage reports."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
from charon.adapters.inference import open_backend
from charon.adapters.inference.bundle import load_bundle

open_backend(sys.argv[1], load_bundle("ptychonn2-sim").model_path, threads=1)
for name, module in list(sys.modules.items()):
    if name.startswith("openvino_telemetry") and module is not None:
        sys.exit(f"{name} was imported")
"""


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_backend_leaves_no_trace_in_home(tmp_path, backend):
    if backend == "onnxruntime":
        pytest.importorskip("onnxruntime")
    subprocess.run(
        [sys.executable, "-c", PROGRAM, backend],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin"},
        check=True,
        timeout=60,
    )
    assert not list(tmp_path.rglob("*"))
