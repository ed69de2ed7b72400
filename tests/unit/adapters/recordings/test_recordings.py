"""Recordings are read frame by frame, with their positions in the order x, y."""

from __future__ import annotations

import bz2
import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from charon.adapters.recordings import is_recording, join, open_recording, read_positions
from charon.errors import UsageError

SHARED = Path(__file__).parents[5] / "shared" / "data"


@pytest.fixture
def frames():
    return np.arange(6 * 4 * 5, dtype=np.uint16).reshape(6, 4, 5)


@pytest.fixture
def rows_and_columns():
    return np.stack([np.arange(6.0), np.arange(6.0) * 10], axis=1)


def test_npy_is_read_lazily(tmp_path, frames):
    np.save(tmp_path / "scan.npy", frames)
    recording = open_recording(tmp_path / "scan.npy")
    assert isinstance(recording.array, np.memmap)
    assert (len(recording), recording.frame_shape, recording.dtype) == (6, (4, 5), np.dtype("u2"))
    np.testing.assert_array_equal(recording.frame(3), frames[3])
    assert recording.positions_m is None
    assert recording.name == "scan.npy"


@pytest.mark.parametrize("name", ["scan.npz", "scan.npz.bz2"])
def test_npz_positions_are_converted_to_metres(tmp_path, frames, rows_and_columns, name):
    archive = io.BytesIO()
    np.savez(archive, data=frames[None], scan=rows_and_columns[None], probe=np.zeros((4, 4, 4, 4), complex))
    content = archive.getvalue()
    (tmp_path / name).write_bytes(bz2.compress(content) if name.endswith("bz2") else content)
    recording = open_recording(tmp_path / name, position_scale_m=2e-9)
    assert len(recording) == 6
    assert recording.positions_m is not None
    np.testing.assert_allclose(recording.positions_m[:, 0], rows_and_columns[:, 1] * 2e-9)
    np.testing.assert_allclose(recording.positions_m[:, 1], rows_and_columns[:, 0] * 2e-9)


def test_cxi_positions_are_x_then_y(tmp_path, frames):
    translation = np.stack([np.arange(6.0), np.arange(6.0) + 100, np.zeros(6)], axis=1) * 1e-6
    with h5py.File(tmp_path / "scan.cxi", "w") as file:
        file["entry_1/data_1/data"] = frames
        file["entry_1/data_1/translation"] = translation
    recording = open_recording(tmp_path / "scan.cxi")
    np.testing.assert_array_equal(recording.frame(5), frames[5])
    assert recording.positions_m is not None
    np.testing.assert_allclose(recording.positions_m, translation[:, :2])


def test_nexus_grid_and_named_dataset_are_read(tmp_path, frames):
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["entry/data/data"] = frames.reshape(2, 3, 4, 5)
        file["raw/other"] = frames[:2] + 1
    assert len(open_recording(tmp_path / "scan.h5")) == 6
    np.testing.assert_array_equal(open_recording(tmp_path / "scan.h5").frame(4), frames[4])
    np.testing.assert_array_equal(open_recording(tmp_path / "scan.h5", dataset="/raw/other").frame(1), frames[1] + 1)


def test_compressed_hdf5_is_read(tmp_path, frames):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("entry/data/data", data=frames, chunks=(1, 4, 5), **hdf5plugin.Bitshuffle())
    np.testing.assert_array_equal(open_recording(tmp_path / "scan.h5").frame(2), frames[2])


def test_fftshift_centres_zero_frequency(tmp_path, frames):
    np.save(tmp_path / "scan.npy", frames)
    np.testing.assert_array_equal(
        open_recording(tmp_path / "scan.npy", fftshift=True).frame(0), np.fft.fftshift(frames[0])
    )


def test_text_positions_need_no_header(tmp_path, frames):
    np.save(tmp_path / "scan.npy", frames)
    bare, named = tmp_path / "bare.csv", tmp_path / "named.csv"
    bare.write_text("\n".join(f"{k},{10 * k}" for k in range(6)))
    named.write_text("index,x,y\n" + "\n".join(f"{k},{10 * k},{k}" for k in range(6)))
    expected = np.stack([np.arange(6) * 10.0, np.arange(6.0)], axis=1)
    for path in (bare, named):
        recording = open_recording(tmp_path / "scan.npy", positions=path)
        assert recording.positions_m is not None
        np.testing.assert_allclose(recording.positions_m, expected)
    np.testing.assert_allclose(read_positions(bare, order="xy"), expected[:, ::-1])


def test_errors_name_the_arrays_of_the_file(tmp_path, frames):
    np.savez(tmp_path / "two.npz", first=frames, second=frames)
    with pytest.raises(UsageError, match=r"first \(6, 4, 5\), second \(6, 4, 5\)"):
        open_recording(tmp_path / "two.npz")
    with pytest.raises(UsageError, match=r"two\.npz: no array 'third'; arrays: first"):
        open_recording(tmp_path / "two.npz", dataset="third")
    np.savez(tmp_path / "few.npz", data=frames, scan=np.zeros((3, 2)))
    with pytest.raises(UsageError, match="3 positions for 6 frames"):
        open_recording(tmp_path / "few.npz")
    np.savez(tmp_path / "flat.npz", two=frames[0])
    with pytest.raises(UsageError, match=r"no array of shape \(frames, rows, columns\); found: two \(4, 5\)$"):
        open_recording(tmp_path / "flat.npz")


def test_complex_frames_are_not_supported(tmp_path, frames):
    np.save(tmp_path / "scan.npy", frames.astype(complex))
    with pytest.raises(UsageError, match="complex data are not supported"):
        open_recording(tmp_path / "scan.npy")
    np.savez(tmp_path / "scan.npz", data=frames.astype(complex))
    with pytest.raises(UsageError, match="complex data are not supported"):
        open_recording(tmp_path / "scan.npz")


@pytest.mark.parametrize("name", ["missing.npy", "broken.npz", "broken.h5", "broken.npz.bz2", "notes.txt"])
def test_unreadable_files_are_named(tmp_path, name):
    if not name.startswith("missing"):
        (tmp_path / name).write_bytes(b"not a recording")
    with pytest.raises(UsageError, match=name):
        open_recording(tmp_path / name)


def test_invalid_archive_is_not_reported_as_pickle(tmp_path):
    (tmp_path / "broken.npz").write_bytes(b"not a recording")
    with pytest.raises(UsageError, match=r"broken\.npz: not a valid \.npz file"):
        open_recording(tmp_path / "broken.npz")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a,b\n1,2\n", "line 1: expected two numbers per line, or a header with x and y$"),
        ("# metres\n1,2\n3,a\n", "line 3: expected two numbers"),
        ("x,y\n1,2\n3\n", "line 3: expected two numbers"),
        ("1,2\n1,2,3,4\n", "line 2: expected two numbers"),
        ("# metres\n", "contains no positions"),
        ("\udcff", "not a text file"),
    ],
)
def test_invalid_positions_name_line_and_format(tmp_path, text, reason):
    path = tmp_path / "positions.csv"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=rf"positions\.csv: {reason}"):
        read_positions(path)


def test_recordings_are_joined_in_order(tmp_path, frames):
    np.save(tmp_path / "a.npy", frames[:2])
    np.save(tmp_path / "b.npy", frames[2:])
    recordings = [open_recording(path) for path in sorted(tmp_path.iterdir()) if is_recording(path)]
    assert [recording.frame(index)[0, 0] for recording, index in join(recordings)] == [f[0, 0] for f in frames]


def test_measured_scan_has_x_in_the_second_column():
    gold = SHARED / "ptychonn_gold"
    if not gold.is_dir():
        pytest.skip(f"measured data not found at {gold}")
    recording = open_recording(gold / "test235_truncated.npz")
    other = open_recording(gold / "test235_truncated.npz", positions=gold / "pos235.csv")
    assert len(recording) == 20
    assert recording.positions_m is not None
    assert other.positions_m is not None
    np.testing.assert_allclose(recording.positions_m, other.positions_m, rtol=1e-6)
    assert recording.positions_m[0] == pytest.approx((1.099e-6, -0.409e-6), abs=1e-9)
