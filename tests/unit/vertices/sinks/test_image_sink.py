"""Order, lateness, repeats and sudden ends: the image and the account are those of an undisturbed run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress

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
from charon.ledger.pages import SinkPage
from charon.ledger.process import ProcessStats
from charon.vertices.sinks.image_sink import ImageSink, Periods
from charon.vertices.sinks.sink import Accepted

START_NS = 1_760_000_000_000_000_000
AT_ONCE = Periods(file_s=0.0, image_s=0.0, picture_s=60.0, viewer_s=0.0, broken_s=0.0)


def make_patch(k, *, position=True, shape=(12, 12), scan="scan", dtype=np.float32, where_m=None, time_ns=None):
    rng = np.random.default_rng(k)
    return Patch(
        FrameId("ad:image", k, START_NS + k * 1_000_000 if time_ns is None else time_ns, START_NS),
        "run",
        rng.uniform(-3, 3, shape).astype(dtype),
        1e-8,
        "m@1",
        scan=scan,
        position_m=(where_m or place_of(k)) if position else None,
        times_ns={"received": START_NS + k * 1_000_000 + 50},
    )


def place_of(k):
    return (k * 3.3e-8, (k % 5) * 4.1e-8)


def late(k):
    return LatePosition("ad:image", START_NS + k * 1_000_000, place_of(k))


def open_sink(folder, **options):
    return ImageSink(folder, run="run", fsync="off", periods=AT_ONCE, **options)


def run_through(folder, batches, **options):
    sink = open_sink(folder, **options)
    for batch in batches:
        sink.accept([encode(message) for message in batch])
        sink.tick()
    sink.close()
    return SinkPage(process=ProcessStats(), report=sink.report()).to_json()


def result_of(folder, scan="scan"):
    with h5py.File(folder / f"{scan}.h5", "r") as h5:
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


def assert_same(result, expected, *, but=()):
    for key, value in expected.items():
        if key in but:
            continue
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(result[key], value, atol=1e-5, err_msg=key)
        else:
            assert result[key] == value, key


def without_duplicates(ledger):
    epochs = json.loads(json.dumps(ledger["ledger"]["epochs"]))
    for epoch in epochs:
        epoch["counts"] = {}
        epoch["sets"] = dict(sorted(epoch["sets"].items()))
    return epochs


COUNT = 9


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    messages = [make_patch(k) for k in range(COUNT)] + [
        Rejection(FrameId("ad:image", 90, START_NS + 5, START_NS), "shape", "x", "in", "scan")
    ]
    ledger = run_through(folder, [messages])
    return result_of(folder), ledger


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_order_with_repeats_late_positions_and_restarts_gives_the_same(tmp_path_factory, undisturbed, data):
    messages = [Rejection(FrameId("ad:image", 90, START_NS + 5, START_NS), "shape", "x", "in", "scan")]
    for k in range(COUNT):
        if data.draw(st.booleans()):
            messages.append(make_patch(k))
        else:
            messages += [make_patch(k, position=False), late(k)]
    repeats = data.draw(st.lists(st.sampled_from(messages), max_size=6))
    order = data.draw(st.permutations(messages + repeats))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(order)), max_size=4)))
    batches = [order[a:b] for a, b in zip([0, *cuts], [*cuts, len(order)], strict=True)]
    folder = tmp_path_factory.mktemp("sink")
    middle = data.draw(st.integers(0, len(batches)))
    run_through(folder, batches[:middle])
    ledger = run_through(folder, batches[middle:])
    expected, expected_ledger = undisturbed
    assert_same(result_of(folder), expected, but=("account",))
    assert without_duplicates(ledger) == without_duplicates(expected_ledger)
    assert ledger["scans"]["scan"] | {"files": 0, "picture": 0} == {
        "stitched": COUNT,
        "waiting": 0,
        "unstitched": 0,
        "files": 0,
        "picture": 0,
    }


def test_accept_says_what_came_and_counts_repeats_by_name_even_within_a_batch(tmp_path):
    sink = open_sink(tmp_path)
    rejection = Rejection(FrameId("ad:image", 7, START_NS + 7_000_000, START_NS), "poison", "x", "cat", "scan")
    batch = [make_patch(1), make_patch(1), rejection, late(1), late(1), make_patch(2)]
    assert sink.accept([*map(encode, batch), b"rubbish"]) == Accepted(2, 1, 1, 2, 1)
    # A frame has one outcome: what came first stands.
    changed = [Rejection(make_patch(1).id, "poison", "x", "cat", "scan"), make_patch(7)]
    assert sink.accept([*map(encode, changed)]) == Accepted(duplicates=2)
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet([1, 2]), "rejected:poison": IdSet([7])}
    assert entry.counts == {"duplicates": 3}
    sink.close()


def test_a_detector_that_restarts_gives_the_same_numbers_other_names(tmp_path):
    again = [make_patch(k, time_ns=START_NS + 10**12 + k) for k in range(3)]
    ledger = run_through(tmp_path, [[make_patch(k) for k in range(3)], again])
    assert ledger["scans"]["scan"]["stitched"] == 6


def test_each_scan_has_its_image_and_awkward_names_become_files(tmp_path):
    scans = ["scan", "a/b", "a_b", "", ".."]
    ledger = run_through(tmp_path, [[make_patch(k, scan=scan, time_ns=k + 1) for k, scan in enumerate(scans)]])
    files = [ledger["scans"][scan]["files"][0] for scan in scans]
    assert len(set(files)) == len(scans)
    assert all(file.startswith(str(tmp_path)) and "/" not in file.removeprefix(f"{tmp_path}/") for file in files)
    for scan in scans:
        with Image.open(ledger["scans"][scan]["picture"]) as picture:
            assert min(picture.size) > 300


def test_patches_of_another_form_share_the_image_and_have_a_file_of_their_own(tmp_path):
    ledger = run_through(tmp_path, [[make_patch(1), make_patch(2, shape=(16, 20)), make_patch(3, dtype=np.float16)]])
    scan = ledger["scans"]["scan"]
    assert scan["stitched"] == 3
    sizes = []
    for file in scan["files"]:
        with h5py.File(file, "r") as h5:
            phase = h5["entry_1/data_1/phase"]
            sizes.append((phase.shape, phase.dtype.str))
    assert sizes == [((1, 12, 12), "<f4"), ((1, 16, 20), "<f4"), ((1, 12, 12), "<f2")]


def test_a_patch_without_a_position_is_kept_and_said_to_wait(tmp_path):
    ledger = run_through(tmp_path, [[make_patch(1, position=False)]])
    assert ledger["scans"]["scan"]["waiting"] == 1
    assert ledger["latency_ms"]["count"] == 0
    with h5py.File(tmp_path / "scan.h5", "r") as h5:
        assert h5["entry_1/data_1/unique_id"][:].tolist() == [1]
        assert np.isnan(h5["entry_1/data_1/translation"][0, :2]).all()
        assert h5["entry_1/account_1/state"].asstr()[:].tolist() == ["reconstructed"]


@pytest.mark.parametrize("at", [0, 4, 11])
def test_a_stray_position_is_kept_out_of_the_image_wherever_it_comes(tmp_path, at):
    patches = [make_patch(k) for k in range(12)]
    patches.insert(at, make_patch(50, where_m=(1.0, 0.0)))
    ledger = run_through(tmp_path, [[patch] for patch in patches])
    assert (ledger["scans"]["scan"]["stitched"], ledger["scans"]["scan"]["unstitched"]) == (12, 1)
    assert result_of(tmp_path)["image"].shape[1] < 100
    assert run_through(tmp_path, [])["scans"]["scan"]["stitched"] == 12


def test_latency_is_measured_from_the_detector_and_a_clock_ahead_is_set_apart(tmp_path):
    now = time.time_ns()
    messages = [make_patch(1, time_ns=now - 20_000_000), make_patch(2, time_ns=now + 10**12)]
    ledger = run_through(tmp_path, [messages])
    latency = ledger["latency_ms"]
    assert (latency["count"], latency["clock_disagrees"]) == (1, 1)
    assert 20.0 <= latency["p50"] < 5000.0
    assert run_through(tmp_path, [])["latency_ms"] == pytest.approx(latency, rel=0.5)


def test_viewers_are_shown_the_image_with_its_latest_frame(tmp_path):
    shown = []
    sink = open_sink(tmp_path, publish=lambda *args: shown.append(args), viewer_period_s=0.0)
    sink.accept([encode(make_patch(k)) for k in range(3)])
    sink.tick()
    sink.close()
    image, unique_id, time_ns, attributes = shown[-1]
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert (unique_id, time_ns) == (2, START_NS + 2_000_000)
    assert attributes["patches"] == 3
    assert attributes["pixel_m"] == 1e-8


def fill(path):
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_full_disk_loses_nothing_and_the_run_goes_on(small_disk, caplog):
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
    assert sink.accept(batch) == Accepted(reconstructed=4)
    for _ in range(3):
        sink.tick()
    sink.close()
    assert sink.report().image.scans["scan"].stitched == 9
    assert result_of(disk)["unique_id"] == [0, 1, 2, 3, 4]


def test_files_that_could_not_be_written_are_made_again_from_the_log(tmp_path, monkeypatch, caplog):
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
    result = result_of(tmp_path)
    assert result["unique_id"] == list(range(COUNT))
    assert result["account"] == {"reconstructed": COUNT}


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_image_sink import make_patch, late, open_sink, encode
sink = open_sink(Path(sys.argv[1]))
k = 0
while k < 60:
    batch = [encode(make_patch(j, position=j % 3 != 0)) for j in range(k, k + 4)]
    batch += [encode(late(j)) for j in range(k, k + 4) if j % 3 == 0]
    accepted = sink.accept(batch)
    sink.tick()
    k += 4
    print(k, flush=True)
sink.close()
"""


@pytest.mark.slow
def test_a_sink_killed_at_any_moment_gives_what_an_undisturbed_one_does(tmp_path):
    rng = random.Random(8)
    expected = run_through(tmp_path / "whole", [[make_patch(k) for k in range(60)]])
    folder = tmp_path / "killed"
    confirmed = 0
    here = __file__.rsplit("/", 1)[0]
    for life in range(4):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), here], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        writer.stdout.readline()
        if life < 3:
            time.sleep(rng.uniform(0.0, 0.15))
            writer.send_signal(signal.SIGKILL)
        confirmed = max([confirmed, *map(int, writer.stdout.read().split())])
        writer.stdout.close()
        writer.wait()
        if life < 3:
            sink = open_sink(folder)
            (entry,) = sink.report().entries
            assert len(entry.sets["reconstructed"]) >= min(confirmed, 60)
            sink.close()
    assert confirmed == 60
    ledger = run_through(folder, [])
    assert_same(result_of(folder), result_of(tmp_path / "whole"))
    assert without_duplicates(ledger) == without_duplicates(expected)
