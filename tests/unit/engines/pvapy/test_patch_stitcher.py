"""The baseline's stitching: the image of the image sink, and a record of each patch."""

from __future__ import annotations

import json
import threading
from collections import Counter

import numpy as np
import pytest

from charon.adapters.inference.bundle import load_bundle
from charon.adapters.pvaccess import RawUpdate, build_ntndarray
from charon.adapters.pvaccess.pvapy import pva
from charon.adapters.storage.nexus_reader import read_image
from charon.engines.pvapy import stitch_processor_file
from charon.engines.pvapy.commands import BaselineOptions, stitcher_command
from charon.engines.pvapy.patch_stitcher import PatchStitcher
from charon.engines.pvapy.stitch_processor import StitchProcessor
from charon.errors import UsageError
from charon.frames import Frame, FrameId, Patch, encode
from charon.ledger.frame_log import RECEIVED, REPEATED, STITCHED, UNSTITCHED, FrameLog, FrameLogReader
from charon.settings.baseline import StitcherSettings, read_processor_settings
from charon.vertices.sinks.image_refresh import RefreshIntervals
from charon.vertices.sinks.image_sink import ImageSink

START_NS = 1_760_000_000_000_000_000
BUNDLE = load_bundle("ptychonn2-sim")
NO_DELAY = RefreshIntervals(file_s=0.0, image_s=0.0, picture_s=0.0)


def result(n, position_m: tuple[float, float] | None = (0.0, 0.0), channel="ad:phase:1"):
    phase = np.random.default_rng(n).uniform(-1, 1, (128, 128)).astype(np.float32)
    return Frame(FrameId(channel, n, START_NS + n), phase, scan="scan", position_m=position_m)


def position_of(n):
    return (n * 1.3e-8, (n % 5) * 2.1e-8)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "stitched.bin"


@pytest.fixture
def stitcher(tmp_path, log):
    return PatchStitcher(tmp_path, BUNDLE, "ad:image", FrameLog(log), NO_DELAY)


def outcomes(log):
    records = FrameLogReader(log).read()
    return Counter(zip(records["unique_id"].tolist(), records["outcome"].tolist(), strict=True))


def test_image_equals_that_of_the_image_sink(tmp_path, stitcher):
    card = BUNDLE.card
    sink = ImageSink(
        tmp_path / "sink",
        run="run",
        fsync="off",
        weight_radius_m=card.patch.weight_radius_m,
        weight_profile=card.patch.weight_profile,
    )
    for n in range(1, 21):
        frame = result(n, position_of(n))
        stitcher.add(frame, START_NS)
        phase = np.asarray(frame.image, np.float32)
        patch = Patch(frame.id, "run", phase, card.patch.pixel_m, "m@1", scan="scan", position_m=frame.position_m)
        sink.accept([encode(patch)])
    stitcher.close()
    sink.close()
    image, expected = read_image(tmp_path / "scan.h5"), read_image(tmp_path / "sink" / "scan.h5")
    assert image is not None
    assert expected is not None
    assert image.origin_m == expected.origin_m
    np.testing.assert_array_equal(image.weight, expected.weight)
    np.testing.assert_array_equal(image.transmission, expected.transmission)
    assert (tmp_path / "scan.png").exists()


def test_each_patch_is_stitched_and_recorded_once(log, stitcher):
    for frame in (result(1), result(2), result(2), result(1, channel="ad:phase:2")):
        stitcher.add(frame, START_NS)
    stitcher.close()
    assert stitcher.scans["scan"].stitched == 2
    assert outcomes(log) == {(n, outcome): 1 for n in (1, 2) for outcome in (RECEIVED, STITCHED, REPEATED)}


def test_patch_without_position_is_not_stitched(log, stitcher, caplog):
    for n in (1, 2):
        stitcher.add(result(n, None), START_NS)
    stitcher.add(result(3), START_NS)
    stitcher.add(result(4, (1.0, 0.0)), START_NS)
    stitcher.close()
    assert stitcher.scans["scan"].stitched == 1
    assert {key for key in outcomes(log) if key[1] != RECEIVED} == {
        (1, UNSTITCHED),
        (2, UNSTITCHED),
        (3, STITCHED),
        (4, UNSTITCHED),
    }
    assert [record.args[0] for record in caplog.records if "no scan position" in record.msg] == [
        f"ad:image/{START_NS + 1}/1"
    ]


class Processor(StitchProcessor):
    """The processor without PvaPy's constructor and the wait for channels."""

    def __init__(self, config):
        self._channel = config["inputChannel"]
        self._lock = threading.Lock()
        self._readers = []
        self._is_stopping = threading.Event()
        self.metadataQueueMap = {}
        self.prepare(config)


def update(channel, n=0):
    if n == 0:
        return RawUpdate(channel, START_NS, pva.NtNdArray())
    attributes = {"x_position": 0.0, "y_position": n * 1e-8, "scan_id": "scan"}
    pv = build_ntndarray(np.ones((128, 128), np.float32), n, START_NS + n, attributes)
    return RawUpdate(channel, START_NS, pv)


@pytest.fixture
def processor(tmp_path, log):
    options = BaselineOptions(
        channel="ad:image",
        output_channel="ad:phase",
        model="ptychonn2-sim",
        folder=tmp_path,
        images=tmp_path / "images",
        consumers=2,
    )
    command = stitcher_command(options)
    values = dict(zip(command[5::2], command[6::2], strict=True))
    assert values["--processor-file"] == str(stitch_processor_file())
    assert values["--metadata-channels"] == "pva://ad:phase:2"
    assert options.stitch_log == log
    return Processor({**json.loads(values["--processor-args"]), "inputChannel": values["--input-channel"]})


def test_log_appears_when_all_channels_are_connected(processor, log):
    assert processor.further_channels(settings_of(processor)) == ("ad:phase:2",)
    processor.on_update(update("ad:phase:1"))
    assert not log.exists()
    processor.on_update(update("ad:phase:2"))
    assert log.exists()
    for n in (1, 2, 3):
        processor.on_update(update(f"ad:phase:{1 + n % 2}", n))
    processor.finish()
    assert outcomes(log) == {(n, outcome): 1 for n in (1, 2, 3) for outcome in (RECEIVED, STITCHED)}


def settings_of(processor):
    return json.loads(processor._settings.model_dump_json())


def test_metadata_channels_are_read_to_the_end(processor, log):
    queue = pva.PvObjectQueue(10)
    for n in range(1, 6):
        queue.put(update("ad:phase:2", n).pv)
    processor.metadataQueueMap = {"ad:phase:2": queue}
    processor.start()
    processor.stop()
    assert set(outcomes(log)) == {(n, outcome) for n in range(1, 6) for outcome in (RECEIVED, STITCHED)}


def test_failed_update_does_not_end_its_channel(processor, log, caplog):
    stitch = processor.on_update

    def on_update(received):
        if received.identify().unique_id == 2:
            raise ValueError("broken")
        stitch(received)

    processor.on_update = on_update
    queue = pva.PvObjectQueue(10)
    for n in (1, 2, 3):
        queue.put(update("ad:phase:2", n).pv)
    processor.metadataQueueMap = {"ad:phase:2": queue}
    processor.start()
    processor.stop()
    assert {key[0] for key in outcomes(log)} == {1, 3}
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "an update of channel ad:phase:2 was not processed"
    ]


def test_missing_setting_of_the_stitcher_is_named(tmp_path):
    with pytest.raises(UsageError, match="--processor-args: log"):
        read_processor_settings(StitcherSettings, {"output": str(tmp_path), "processorId": 3})
