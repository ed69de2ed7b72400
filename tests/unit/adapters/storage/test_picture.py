"""Pictures map the phase to even steps of brightness, and replace the previous file atomically."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from charon.adapters.storage.picture import phase_contrast, write_comparison_png, write_png


def ramp(rows=200, columns=300):
    phase = np.tile(np.linspace(-1.0, 1.0, columns, dtype=np.float32), (rows, 1))
    phase[:, :30] = np.nan
    phase[60:80, 100:120] = np.nan
    return phase


def test_brightness_rises_with_phase(tmp_path):
    write_png(tmp_path / "p.png", ramp(), 1e-8, "a scan", "12 patches")
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert list(tmp_path.iterdir()) == [tmp_path / "p.png"]
    row = pixels[48 + 200, 24 : 24 + 540]
    luminance = row @ [0.2126, 0.7152, 0.0722]
    assert luminance[-20] - luminance[20] > 150
    assert (np.diff(luminance[::10]) > -1).all()
    hole = pixels[48 + 128 : 48 + 152, 24 + 148 : 24 + 172]
    assert len(np.unique(hole.reshape(-1, 3), axis=0)) == 1


@pytest.mark.parametrize(
    "phase", [np.zeros((0, 0), np.float32), np.full((40, 40), np.nan), np.zeros((3, 500)), np.ones((4000, 30))]
)
def test_write_png_accepts_any_phase(tmp_path, phase):
    write_png(tmp_path / "p.png", phase, 1e-8)
    with Image.open(tmp_path / "p.png") as picture:
        assert max(picture.size) < 2200
        picture.verify()


def test_contrast_ignores_outliers_and_has_a_width():
    phase = ramp()
    phase[100, 40] = 50.0
    assert phase_contrast(phase).high < 1.1
    flat = phase_contrast(np.zeros((4, 4)))
    assert flat.low < 0.0 < flat.high


def test_comparison_removes_the_constant_offset(tmp_path):
    truth = ramp()
    truth[:, :30] = 0.3
    write_comparison_png(tmp_path / "c.png", ramp() + 2.0, truth, 1e-8)
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    left, right = pixels[300:400, 24:564], pixels[300:400, 584:1124]
    assert np.abs(left - right).mean() < 2.0
    with pytest.raises(ValueError, match="shapes differ"):
        write_comparison_png(tmp_path / "c.png", ramp(), truth[1:], 1e-8)


def test_unwritable_picture_raises_with_its_path(tmp_path):
    path = tmp_path / "none" / "p.png"
    with pytest.raises(OSError, match="none"):
        write_png(path, ramp(), 1e-8)
