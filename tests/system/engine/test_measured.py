"""Measured frames through the complete pipeline: pvAccess, JetStream, inference, stitched image."""

from __future__ import annotations

import bz2
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engine_images import arrays
from PIL import Image, ImageSequence

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
SHARED = Path(__file__).parents[4] / "shared"
GOLD = SHARED / "data" / "ptychonn_gold"
UNIQUE_ID = "entry_1/data_1/unique_id"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
STAR = SHARED / "data" / "siemens_star"


def _require(folder):
    if not folder.is_dir():
        pytest.skip(f"the measured data in shared/data/{folder.name} is missing")


def test_published_network_gives_published_phase(live, manifest, tmp_path):
    _require(GOLD)
    bundle = tmp_path / "gold"
    importing = ("model", "import", GOLD / "model_ptychonn_bn_meanSubStdData.pth", bundle, "--form", "ptychonn2-norm")
    path = manifest(
        **{
            "in": ["source", "--channel", "ad:image", "--model", bundle],
            "cat": ["inference", "--model", bundle],
            "image": ["image-sink", "--model", bundle],
        }
    )
    scan = GOLD / "test235_truncated.npz"
    import_command = [*map(str, importing), "--reference", str(scan), "--pixel", "8e-9"]
    from charon.cli.exit_status import run_command
    from charon.cli.main import cli

    assert run_command(cli, import_command) == 0
    run = live(path, "--quiet")
    run.wait_ready()
    detector = run.detector("--input-file", scan, "--datatype", "int32", "--frame-rate", "10", "--report-period", "0")
    detector.wait(90)
    summary = run.finish()
    assert (summary["published"], summary["reconstructed"], summary["missed"]) == (20, 20, 0), run.log()
    with Image.open(GOLD / "pred_phase.tiff") as pages:
        published = np.stack([np.asarray(page, np.float32) for page in ImageSequence.Iterator(pages)])
    assert published.shape == (20, 128, 128)
    unique_ids, phase, translation = arrays(run.output / "scan-1.h5", UNIQUE_ID, "entry_1/data_1/phase", TRANSLATION)
    order = np.argsort(unique_ids)
    phase, positions = phase[order], translation[order, :2]
    assert phase.dtype == np.float32
    assert np.abs(phase - published).max() < 1e-4
    with np.load(scan) as measured:
        known = measured["position"]
    assert min(np.abs(positions - known).max(), np.abs(positions - known[:, ::-1]).max()) < 1e-12


def test_replayed_siemens_star_keeps_positions(live, manifest):
    _require(STAR)
    bundle = "ptychonn2-siemens"
    path = manifest(
        **{
            "in": ["source", "--channel", "ad:image", "--model", bundle],
            "cat": ["inference", "--model", bundle],
            "image": ["image-sink", "--model", bundle],
        }
    )
    run = live(path, "--quiet")
    run.wait_ready()
    replay = ("--input-file", STAR / "siemens-star-small.npz.bz2", "--fftshift", "--position-scale", "29e-9")
    detector = run.detector(*replay, "--position-order", "yx", "--frame-rate", "60", "--report-period", "0")
    detector.wait(90)
    assert detector.returncode == 0, run.log()
    summary = run.finish()
    assert (summary["published"], summary["reconstructed"], summary["missed"]) == (516, 516, 0), run.log()
    with bz2.open(STAR / "siemens-star-small.npz.bz2") as file, np.load(file) as recorded:
        scan = recorded["scan"][0]
    unique_ids, translation = arrays(run.output / "scan-1.h5", UNIQUE_ID, TRANSLATION)
    positions = translation[np.argsort(unique_ids), :2]
    np.testing.assert_allclose(positions / 29e-9, scan[:, ::-1], atol=1e-3)


def test_p4p_publishes_frames_and_reads_image(live, manifest, environment):
    """The source and the viewer channel work with another implementation of pvAccess."""
    path = manifest(
        cat=["inference", "--model", "ptychonn2-sim"],
        image=["image-sink", "--model", "ptychonn2-sim", "--viewer-channel", "charon:image", "--viewer-period", "0.2"],
    )
    run = live(path, "--quiet")
    run.wait_ready()
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, __file__], env=environment, text=True, **pipes) as other:
        # The initial image of p4p's channel is a frame too, without a position: the source's monitor is active.
        run.wait_for(lambda s: s["account"]["accepted"] == 1)
        out, err = other.communicate("publish\n", timeout=90)
    assert other.returncode == 0, err
    seen = json.loads(out.splitlines()[-1])
    summary = run.finish()
    assert (summary["published"], summary["reconstructed"], summary["missed"]) == (31, 31, 0)
    assert seen["dtype"] == "float32"
    # 30 patches of 128 pixels at intervals of 10 pixels along x: the last image is wider than high.
    assert seen["shape"][1] > seen["shape"][0] >= 100
    assert seen["patches"] == 30


def _publish_and_read():
    """Publish 30 frames with p4p after a line on stdin, then read the image until it contains all of them.

    This runs as a separate program.
    """
    from p4p.client.thread import Context
    from p4p.nt import NTNDArray
    from p4p.server import Server, StaticProvider
    from p4p.server.thread import SharedPV

    form = NTNDArray()
    rng = np.random.default_rng(0)
    cone = 40.0 * np.exp(-(((np.arange(512) - 256) / 40.0) ** 2))
    mean = np.sqrt(np.outer(cone, cone))
    pv = SharedPV(initial=form.wrap(np.zeros((512, 512), np.int16)))
    provider = StaticProvider("frames")
    provider.add("ad:image", pv)
    seen = {}
    with Server(providers=[provider]), Context("pva", nt=False) as client:
        assert sys.stdin.readline() == "publish\n"
        for i in range(30):
            value = form.wrap(rng.poisson(mean).astype(np.int16))
            now = time.time_ns()
            value["uniqueId"] = i + 1
            for stamp in ("timeStamp", "dataTimeStamp"):
                value[f"{stamp}.secondsPastEpoch"], value[f"{stamp}.nanoseconds"] = divmod(now, 10**9)
            value["attribute"] = [
                {"name": name, "value": v, "descriptor": "", "source": "", "sourceType": 0}
                for name, v in (("x_position", 1e-7 * i), ("y_position", 0.0), ("scan_id", "p4p"))
            ]
            pv.post(value)
            time.sleep(0.03)
        end = time.monotonic() + 40
        while time.monotonic() < end and seen.get("patches") != 30:
            image: Any = client.get("charon:image")
            attributes = {a.name: a.value for a in image.attribute}
            sizes = [d["size"] for d in image.dimension]
            if sizes:
                data = np.asarray(image.value).reshape(sizes[::-1])
                seen = {"dtype": str(data.dtype), "shape": list(data.shape), "patches": int(attributes["patches"])}
            time.sleep(0.2)
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    _publish_and_read()
