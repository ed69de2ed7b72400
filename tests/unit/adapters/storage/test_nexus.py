"""The file of a scan stores every value in the CXI and NeXus layout and is readable while it grows."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import h5py
import numpy as np
import pytest

from charon.adapters.storage.nexus import Row, ScanFile, ScanHeader
from charon.errors import UnavailableError
from charon.frames import FrameId, Patch, Rejection
from charon.science.stitch import Canvas

START_NS = 1_760_000_000_000_000_000


def make_patch(k, shape=(8, 10), amplitude=False):
    phase = np.full(shape, 0.01 * k, np.float32)
    times = {"received": START_NS + k + 1, "accepted": START_NS + k + 2, "inferred": START_NS + k + 3}
    frame = FrameId("ad:image", k, START_NS + k, START_NS)
    return Patch(frame, "run", phase, 1e-8, "m@1", phase * 2 if amplitude else None, "scan", times_ns=times)


def make_file(path, shape=(8, 10), amplitude=False):
    header = ScanHeader(
        "run", "scan", shape, "<f4", amplitude, 1e-8, START_NS, {"version": "9", "manifest": "kind: Pipeline"}
    )
    return ScanFile(path, header)


def open_h5(path, **options) -> Any:  # h5py cannot type the objects in a file
    return h5py.File(path, "r", **options)


def test_file_stores_everything_in_cxi_layout(tmp_path):
    path = tmp_path / "scan.h5"
    file = make_file(path, amplitude=True)
    rows = [
        Row(make_patch(k, amplitude=True), (k * 1e-7, -k * 1e-7) if k != 2 else None, START_NS + k + 9)
        for k in range(5)
    ]
    file.append(rows[:3])
    file.append(rows[3:])
    file.set_position(2, (7e-7, 8e-7), START_NS + 99)
    file.append_rejections([Rejection(FrameId("ad:image", 7, START_NS, START_NS), "shape", "64x64 pixels" * 40, "in")])
    canvas = Canvas(1e-8)
    for row in rows:
        canvas.add(row.patch.phase, row.position_m or (7e-7, 8e-7))
    image = canvas.image()
    file.set_image(image)
    file.set_account({"reconstructed": 5, "rejected:shape": 1, "duplicates": 3})
    file.set_account({"reconstructed": 5, "rejected:shape": 1})
    file.close()

    with open_h5(path) as h5:
        assert h5["cxi_version"][()] == 160
        entry = h5[h5.attrs["default"]]
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry["process_1/manifest"].asstr()[()] == "kind: Pipeline"
        assert entry["start_time"].asstr()[()].startswith("2025-10-09T08:53:20")
        data = entry["data_1"]
        signal = data[data.attrs["signal"]]
        np.testing.assert_array_equal(signal[:], [row.patch.phase for row in rows])
        np.testing.assert_array_equal(data["amplitude"][:], [row.patch.amplitude for row in rows])
        assert data["unique_id"][:].tolist() == [0, 1, 2, 3, 4]
        assert data["name"].asstr()[4] == rows[4].patch.id.name
        translation = entry["sample_1/geometry_1/translation"]
        assert translation == data["translation"]
        assert translation.attrs["units"] == "m"
        np.testing.assert_allclose(translation[:, 0], [0, 1e-7, 7e-7, 3e-7, 4e-7])
        assert entry["times_1/inferred"][3] == START_NS + 6
        assert entry["times_1/stitched"][:].tolist() == [START_NS + n for n in (9, 10, 99, 12, 13)]
        image_group = entry[entry.attrs["default"]]
        np.testing.assert_array_equal(image_group[image_group.attrs["signal"]][:], image.phase)
        assert image_group["x"].shape == (image.phase.shape[1],)
        assert image_group["y"][0] == pytest.approx(image.origin_m[1])
        known = ~np.isnan(image.phase)
        np.testing.assert_allclose(np.angle(image_group["data"][:])[known], image.phase[known], atol=1e-6)
        assert entry["rejected_1/reason"].asstr()[:].tolist() == ["shape"]
        assert dict(zip(entry["account_1/state"].asstr()[:], entry["account_1/count"][:], strict=True)) == {
            "reconstructed": 5,
            "rejected:shape": 1,
        }


READER = """
import sys, time, h5py
with h5py.File(sys.argv[1], "r", swmr=True) as h5:
    phase, image = h5["entry_1/data_1/phase"], h5["entry_1/image_1/phase"]
    print("open", flush=True)
    deadline = time.monotonic() + 30
    seen = 0
    while seen < 40 and time.monotonic() < deadline:
        phase.refresh()
        image.refresh()
        if phase.shape[0] > seen:
            seen = phase.shape[0]
            print(seen, float(phase[seen - 1].mean()), image.shape[0], flush=True)
        time.sleep(0.005)
"""


def test_reader_follows_file_during_writing(tmp_path):
    path = tmp_path / "scan.h5"
    file = make_file(path)
    with subprocess.Popen([sys.executable, "-c", READER, str(path)], stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "open\n"
        canvas = Canvas(1e-8)
        lines = []
        for k in range(0, 40, 10):
            rows = [Row(make_patch(j), (j * 1e-7, 0.0), 1) for j in range(k, k + 10)]
            for row in rows:
                canvas.add(row.patch.phase, (0.0, row.patch.id.unique_id * 1e-7))
            file.append(rows)
            file.set_image(canvas.image())
            file.flush()
            lines.append(reader.stdout.readline().split())
    file.close()
    assert [int(words[0]) for words in lines] == [10, 20, 30, 40]
    assert [float(words[1]) for words in lines] == pytest.approx([0.09, 0.19, 0.29, 0.39])
    assert 0 < int(lines[0][2]) < int(lines[-1][2])


def test_new_file_replaces_open_file(tmp_path):
    path = tmp_path / "scan.h5"
    first = make_file(path)
    first.append([Row(make_patch(0), None, 0)])
    first.flush()
    with open_h5(path, swmr=True) as reader:
        first.abandon()
        second = make_file(path)
        second.append([Row(make_patch(k), None, 0) for k in range(3)])
        second.close()
        assert reader["entry_1/data_1/phase"].shape[0] == 1
    with open_h5(path) as reader:
        assert reader["entry_1/data_1/phase"].shape[0] == 3
    assert [p.name for p in tmp_path.iterdir()] == ["scan.h5"]


def test_unwritable_file_raises_with_its_path(tmp_path):
    (tmp_path / "scan.h5").mkdir()
    with pytest.raises(UnavailableError, match=r"scan\.h5"):
        make_file(tmp_path / "scan.h5")
