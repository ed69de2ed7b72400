"""The processor that PvaPy loads, with a fake back end and without PvaPy's programs."""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from charon.adapters.inference import Backend
from charon.adapters.pvaccess import RawUpdate, build_ntndarray, corrupt, decode_frame
from charon.engines.pvapy import processor_file
from charon.engines.pvapy.commands import BaselineOptions, consumer_command, mirror_command
from charon.engines.pvapy.figures import metrics_text
from charon.engines.pvapy.processor import PtychographyProcessor
from charon.errors import Reason, UsageError
from charon.ledger.frame_log import PROCESSED, RECEIVED, REPEATED, FrameLogReader, rejected
from charon.science.preprocess import Geometry
from charon.settings.baseline import ConsumerSettings, read_consumer_settings

START_NS = 1_700_000_000_000_000_000
GEOMETRY = Geometry((8, 8), (0, 0, 8, 8), 2)


class FakeBackend(Backend):
    """Returns twice the input; `gate` holds it."""

    def __init__(self):
        self.batches = []
        self.gate = threading.Event()
        self.gate.set()

    @property
    def name(self):
        """Name of the fake."""
        return "fake"

    def infer(self, counts):
        """Return twice the counts."""
        self.gate.wait(10)
        self.batches.append(len(counts))
        return {"phase": 2 * counts}


class Processor(PtychographyProcessor):
    """The processor without the wait for a channel; it collects what it publishes."""

    def __init__(self, settings):
        self.backend = FakeBackend()
        self.published = []
        self._lock = threading.Lock()
        self._readers = []
        self._is_stopping = threading.Event()
        self._start(settings, self.backend, GEOMETRY, "phase")
        self.backend.batches.clear()

    def updateOutputChannel(self, pv):  # noqa: N802 - the name in PvaPy
        """Collect a result."""
        self.published.append(pv)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "frames.bin"


@pytest.fixture
def processor(log):
    return Processor(ConsumerSettings(log=log, max_batch=4))


def update(unique_id, fault=None):
    image = np.full((8, 8), unique_id, np.int16)
    attributes = {"x_position": 1e-6, "scan_id": "scan-1"}
    pv = build_ntndarray(image, unique_id, START_NS + unique_id, attributes)
    return RawUpdate("ad:image", START_NS, pv if fault is None else corrupt(pv, fault))


def test_result_keeps_id_time_and_attributes(processor):
    processor.on_update(update(7))
    processor.stop()
    (pv,) = processor.published
    frame = decode_frame(pv, "out")
    assert (frame.id.unique_id, frame.id.time_ns) == (7, START_NS + 7)
    assert frame.attributes["x_position"] == 1e-6
    assert frame.scan == "scan-1"
    assert frame.image.dtype == np.float32
    np.testing.assert_array_equal(frame.image, np.full((4, 4), 14))


def test_bad_frame_is_rejected_and_next_processed(processor, log):
    for item in (update(1), update(2, "nan"), update(3, "shape"), update(4)):
        processor.on_update(item)
    processor.stop()
    assert processor.counts.figures().rejected == {"not-finite": 1, "shape": 1}
    outcomes = {record[0]: record[3] for record in FrameLogReader(log).read().tolist()}
    assert outcomes == {1: PROCESSED, 2: rejected(Reason.NOT_FINITE), 3: rejected(Reason.SHAPE), 4: PROCESSED}


def test_repeated_frame_is_published_once(processor, log):
    for unique_id in (1, 1, 2):
        processor.on_update(update(unique_id))
    processor.stop()
    assert len(processor.published) == 2
    assert processor.counts.figures().duplicates == 1
    assert REPEATED in FrameLogReader(log).read()["outcome"]


def test_receipt_is_recorded_before_inference(processor, log):
    processor.backend.gate.clear()
    before_ns = time.time_ns()
    processor.on_update(replace(update(1), received_ns=before_ns))
    processor.on_update(update(2, "shape"))
    assert FrameLogReader(log).read()["outcome"].tolist() == [RECEIVED, RECEIVED, rejected(Reason.SHAPE)]
    processor.backend.gate.set()
    processor.stop()
    records = FrameLogReader(log).read()
    times_ns = {int(row["outcome"]): int(row["done_ns"]) for row in records if row["unique_id"] == 1}
    assert times_ns[RECEIVED] == before_ns <= times_ns[PROCESSED] <= time.time_ns()


def test_initial_value_is_ignored(processor):
    processor.on_update(RawUpdate("ad:image", START_NS, corrupt(build_ntndarray(np.ones((8, 8)), 0, 0), "empty")))
    processor.stop()
    assert processor.counts.figures().received == 0


def test_frames_accumulate_while_a_batch_runs(processor):
    processor.backend.gate.clear()
    for unique_id in range(1, 8):
        processor.on_update(update(unique_id))
    processor.backend.gate.set()
    processor.stop()
    assert sum(processor.backend.batches) == 7
    assert max(processor.backend.batches) == 4


def test_metrics_are_served(processor, caplog):
    processor.on_update(update(1))
    while processor.counts.figures().processed < 1:
        time.sleep(0.01)
    with caplog.at_level("INFO"):
        processor._serve_metrics(ConsumerSettings(metrics_port=0), {"consumer": "1"})
    (port,) = (record.args[0] for record in caplog.records if record.msg.startswith("metrics on port"))
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        page = response.read().decode()
    assert 'pvapy_frame_processed_total{consumer="1"} 1' in page
    assert "pvapy_frame_queued" in page
    assert "# TYPE pvapy_frame_latency_seconds histogram" in page


def test_commands_share_frames_by_unique_id(tmp_path):
    options = BaselineOptions(
        channel="ad:image", output_channel="ad:phase", model="ptychonn2-sim", folder=tmp_path, consumers=2
    )
    command = consumer_command(options, 2)
    values = dict(zip(command[5::2], command[6::2], strict=True))
    assert values["--output-channel"] == "ad:phase:2"
    assert values["--distributor-trigger"] == "uniqueId"
    assert values["--processor-file"] == str(processor_file())
    assert read_consumer_settings(json.loads(values["--processor-args"])).shared
    assert mirror_command(options)[-1] == "(ad:image:mirror,ad:image,pva,250)"


def test_settings_ignore_values_of_pvapy():
    settings = read_consumer_settings({"model": "m", "processorId": 1, "inputChannel": "ad:image"})
    assert settings.model == "m"
    assert settings.metrics_port == 9100


def test_invalid_setting_is_named():
    with pytest.raises(UsageError, match="--processor-args: max_batch"):
        read_consumer_settings({"max_batch": 0})


def test_metrics_page_is_documented(processor):
    processor.stop()
    page = Path(__file__).parents[4] / "docs/reference/metrics.md"
    documented = set(re.findall(r"`(pvapy_\w+)`", page.read_text()))
    processor.counts.reject(Reason.SHAPE)
    # The supervisor knows the lost and the stitched frames.
    figures = replace(processor.counts.figures(), lost=0, stitched=0)
    exposed = set(re.findall(r"^# TYPE (\w+) ", metrics_text(figures, {}), re.MULTILINE))
    assert exposed == documented
