"""Image and account are independent of order, late positions, repeats, restarts and crashes."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from charon.adapters.storage.nexus import ScanFile
from charon.errors import UnavailableError
from charon.frames import FrameId, LatePosition, Patch, Rejection, encode
from charon.ledger.id_set import IdSet
from charon.vertices.sinks.image_refresh import RefreshIntervals
from charon.vertices.sinks.image_sink import ImageSink
from charon.vertices.sinks.sink import BatchCounts, SinkMessage

START_NS = 1_760_000_000_000_000_000
NO_DELAY = RefreshIntervals(file_s=0.0, image_s=0.0, picture_s=60.0, viewer_s=0.0, rebuild_s=0.0)


def make_patch(
    k,
    *,
    position=True,
    shape=(12, 12),
    scan="scan",
    dtype: type[np.floating] = np.float32,
    position_m=None,
    time_ns=None,
):
    rng = np.random.default_rng(k)
    return Patch(
        FrameId("ad:image", k, START_NS + k * 1_000_000 if time_ns is None else time_ns, START_NS),
        "run",
        rng.uniform(-3, 3, shape).astype(dtype),
        1e-8,
        "m@1",
        scan=scan,
        position_m=(position_m or position_of(k)) if position else None,
        times_ns={"received": START_NS + k * 1_000_000 + 50},
    )


def position_of(k):
    return (k * 3.3e-8, (k % 5) * 4.1e-8)


def late_position(k):
    return LatePosition("ad:image", START_NS + k * 1_000_000, position_of(k))


def open_sink(folder, **options):
    return ImageSink(folder, run="run", fsync="off", intervals=NO_DELAY, **options)


def process(folder, batches, **options):
    sink = open_sink(folder, **options)
    for batch in batches:
        sink.accept([encode(message) for message in batch])
        sink.tick()
    sink.close()
    return sink.report()


def open_h5(path) -> Any:  # h5py cannot type the objects in a file
    return h5py.File(path, "r")


def image_of(report):
    assert report.image is not None
    return report.image


def read_file(folder, scan="scan"):
    with open_h5(folder / f"{scan}.h5") as h5:
        entry = h5["entry_1"]
        order = np.argsort(entry["data_1/unique_id"][:])
        return {
            "image": entry["image_1/data"][:],
            "weight": entry["image_1/weight"][:],
            "origin": (entry["image_1/x"][0], entry["image_1/y"][0]),
            "phase": entry["data_1/phase"][:][order],
            "unique_id": entry["data_1/unique_id"][:][order].tolist(),
            "translation": entry["data_1/translation"][:][order],
            "rejected": sorted(entry["rejected_1/unique_id"][:].tolist()),
            "account": dict(
                zip(entry["account_1/state"].asstr()[:].tolist(), entry["account_1/count"][:].tolist(), strict=True)
            ),
        }


def assert_same(result, expected, *, except_keys=()):
    for key, value in expected.items():
        if key in except_keys:
            continue
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(result[key], value, atol=1e-5, err_msg=key)
        else:
            assert result[key] == value, key


def frames_of(report):
    return {(entry.channel, entry.epoch_ns, entry.scan): entry.sets for entry in report.entries}


COUNT = 9


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    messages = [make_patch(k) for k in range(COUNT)] + [
        Rejection(FrameId("ad:image", 90, START_NS + 5, START_NS), "shape", "x", "in", "scan")
    ]
    report = process(folder, [messages])
    return read_file(folder), report


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_result_is_independent_of_message_order(tmp_path_factory, reference, data):
    messages: list[SinkMessage] = [
        Rejection(FrameId("ad:image", 90, START_NS + 5, START_NS), "shape", "x", "in", "scan")
    ]
    for k in range(COUNT):
        if data.draw(st.booleans()):
            messages.append(make_patch(k))
        else:
            messages += [make_patch(k, position=False), late_position(k)]
    repeats = data.draw(st.lists(st.sampled_from(messages), max_size=6))
    order = data.draw(st.permutations(messages + repeats))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    batches = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    folder = tmp_path_factory.mktemp("sink")
    middle = data.draw(st.integers(0, len(batches)))
    process(folder, batches[:middle])
    report = process(folder, batches[middle:])
    expected, expected_report = reference
    assert_same(read_file(folder), expected, except_keys=("account",))
    assert frames_of(report) == frames_of(expected_report)
    scan = image_of(report).scans["scan"]
    assert (scan.stitched, scan.waiting, scan.unstitched) == (COUNT, 0, 0)


def test_accept_counts_repeats_within_a_batch(tmp_path):
    sink = open_sink(tmp_path)
    rejection = Rejection(FrameId("ad:image", 7, START_NS + 7_000_000, START_NS), "poison", "x", "cat", "scan")
    batch = [make_patch(1), make_patch(1), rejection, late_position(1), late_position(1), make_patch(2)]
    assert sink.accept([*map(encode, batch), b"invalid"]) == BatchCounts(2, 1, 1, 2, 1)
    # The first result of a frame is final.
    changed = [Rejection(make_patch(1).id, "poison", "x", "cat", "scan"), make_patch(7)]
    assert sink.accept([*map(encode, changed)]) == BatchCounts(duplicates=2)
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet([1, 2]), "rejected:poison": IdSet([7])}
    assert entry.counts == {"duplicates": 3}
    sink.close()


def test_detector_restart_gives_new_frame_ids(tmp_path):
    again = [make_patch(k, time_ns=START_NS + 10**12 + k) for k in range(3)]
    report = process(tmp_path, [[make_patch(k) for k in range(3)], again])
    assert image_of(report).scans["scan"].stitched == 6


def test_each_scan_has_its_own_files(tmp_path):
    scans = ["scan", "a/b", "a_b", "", ".."]
    report = process(tmp_path, [[make_patch(k, scan=scan, time_ns=k + 1) for k, scan in enumerate(scans)]])
    files = [image_of(report).scans[scan].files[0] for scan in scans]
    assert len(set(files)) == len(scans)
    assert all(file.startswith(str(tmp_path)) and "/" not in file.removeprefix(f"{tmp_path}/") for file in files)
    for scan in scans:
        with Image.open(image_of(report).scans[scan].picture) as picture:
            assert min(picture.size) > 300


def test_each_patch_format_has_its_own_file(tmp_path):
    report = process(tmp_path, [[make_patch(1), make_patch(2, shape=(16, 20)), make_patch(3, dtype=np.float16)]])
    scan = image_of(report).scans["scan"]
    assert scan.stitched == 3
    sizes = []
    for file in scan.files:
        with open_h5(file) as h5:
            phase = h5["entry_1/data_1/phase"]
            sizes.append((phase.shape, phase.dtype.str))
    assert sizes == [((1, 12, 12), "<f4"), ((1, 16, 20), "<f4"), ((1, 12, 12), "<f2")]


def test_patch_without_position_is_stored(tmp_path):
    report = process(tmp_path, [[make_patch(1, position=False)]])
    assert image_of(report).scans["scan"].waiting == 1
    assert image_of(report).since_detector.summary.count == 0
    with open_h5(tmp_path / "scan.h5") as h5:
        assert h5["entry_1/data_1/unique_id"][:].tolist() == [1]
        assert np.isnan(h5["entry_1/data_1/translation"][0, :2]).all()
        assert h5["entry_1/account_1/state"].asstr()[:].tolist() == ["reconstructed"]


@pytest.mark.parametrize("index", [0, 4, 11])
def test_distant_position_is_not_stitched(tmp_path, index):
    patches = [make_patch(k) for k in range(12)]
    patches.insert(index, make_patch(50, position_m=(1.0, 0.0)))
    report = process(tmp_path, [[patch] for patch in patches])
    scan = image_of(report).scans["scan"]
    assert (scan.stitched, scan.unstitched) == (12, 1)
    assert read_file(tmp_path)["image"].shape[1] < 100
    assert image_of(process(tmp_path, [])).scans["scan"].stitched == 12


def test_clock_ahead_is_excluded_from_latency(tmp_path):
    now = time.time_ns()
    messages = [make_patch(1, time_ns=now - 20_000_000), make_patch(2, time_ns=now + 10**12)]
    report = process(tmp_path, [messages])
    latency = image_of(report).since_detector.summary
    assert (latency.count, latency.clock_disagrees) == (1, 1)
    assert 20.0 <= (latency.p50 or 0.0) < 5000.0
    replayed = image_of(process(tmp_path, [])).since_detector.summary
    assert replayed.to_json() == pytest.approx(latency.to_json(), rel=0.5)


def test_viewers_receive_image_with_latest_frame(tmp_path):
    published = []
    sink = open_sink(tmp_path, publish=lambda *args: published.append(args))
    sink.accept([encode(make_patch(k)) for k in range(3)])
    sink.tick()
    sink.close()
    image, unique_id, time_ns, attributes = published[-1]
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert (unique_id, time_ns) == (2, START_NS + 2_000_000)
    assert attributes["patches"] == 3
    assert attributes["pixel_m"] == 1e-8


def fill(path):
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_full_disk_loses_no_patch(small_disk, caplog):
    disk = small_disk(96)
    sink = open_sink(disk)
    sink.accept([encode(make_patch(k)) for k in range(5)])
    sink.tick()
    ballast = disk / "ballast"
    fill(ballast)
    batch = [encode(make_patch(k, shape=(64, 64))) for k in range(5, 9)]
    with pytest.raises(UnavailableError, match="No space left on device"):
        sink.accept(batch)
    sink.tick()
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet(range(5))}
    ballast.unlink()
    assert sink.accept(batch) == BatchCounts(reconstructed=4)
    for _ in range(3):
        sink.tick()
    sink.close()
    assert image_of(sink.report()).scans["scan"].stitched == 9
    assert read_file(disk)["unique_id"] == [0, 1, 2, 3, 4]


def test_broken_files_are_rebuilt_from_log(tmp_path, monkeypatch, caplog):
    sink = open_sink(tmp_path)
    sink.accept([encode(make_patch(k)) for k in range(3)])
    sink.tick()
    with monkeypatch.context() as patched:
        patched.setattr(ScanFile, "has_space", lambda *_: False)
        sink.accept([encode(make_patch(k)) for k in range(3, 6)])
        sink.tick()
    assert "no space" in caplog.text
    sink.accept([encode(make_patch(k)) for k in range(6, COUNT)])
    for _ in range(3):
        sink.tick()
    sink.close()
    result = read_file(tmp_path)
    assert result["unique_id"] == list(range(COUNT))
    assert result["account"] == {"reconstructed": COUNT}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_image_sink import make_patch, late_position, open_sink, encode
sink = open_sink(Path(sys.argv[1]))
k = 0
while k < 60:
    batch = [encode(make_patch(j, position=j % 3 != 0)) for j in range(k, k + 4)]
    batch += [encode(late_position(j)) for j in range(k, k + 4) if j % 3 == 0]
    sink.accept(batch)
    sink.tick()
    k += 4
    print(k, flush=True)
sink.close()
"""


@pytest.mark.slow
def test_killed_sink_gives_the_same_result(tmp_path):
    rng = random.Random(8)
    expected = process(tmp_path / "reference", [[make_patch(k) for k in range(60)]])
    folder = tmp_path / "killed"
    confirmed = 0
    tests_folder = __file__.rsplit("/", 1)[0]
    for attempt in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), tests_folder], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        if attempt < 3:
            time.sleep(rng.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
        confirmed = max([confirmed, *map(int, writer.stdout.read().split())])
        writer.stdout.close()
        writer.wait()
        if attempt < 3:
            sink = open_sink(folder)
            (entry,) = sink.report().entries
            assert len(entry.sets["reconstructed"]) >= min(confirmed, 60)
            sink.close()
    assert confirmed == 60
    report = process(folder, [])
    assert_same(read_file(folder), read_file(tmp_path / "reference"))
    assert frames_of(report) == frames_of(expected)
