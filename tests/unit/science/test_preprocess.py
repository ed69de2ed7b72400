"""Binning returns the exact mean, rounded to the type of the result, for every detector type."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charon.errors import BadFrameError, Reason
from charon.science.preprocess import Geometry, bin_mean

SMALL = ["i1", "u1", "i2", "u2"]
WIDTHS: dict[int, Literal[16, 32, 64]] = {2: 16, 4: 32, 8: 64}
WIDE = ["i4", "u4", "i8", "u8"]


def means(image, binning):
    """Return the means of the blocks as fractions."""
    rows, columns = (n // binning for n in image.shape)
    blocks = image.reshape(rows, binning, columns, binning)
    return [
        [sum(Fraction(v.item()) for v in blocks[r, :, c].ravel()) / binning**2 for c in range(columns)]
        for r in range(rows)
    ]


def images(dtype):
    return st.integers(1, 4).flatmap(
        lambda b: st.tuples(st.just(b), hnp.arrays(np.dtype(dtype), (2 * b, b), elements=numbers(dtype)))
    )


def numbers(dtype):
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return st.floats(-1000, 1000, width=WIDTHS[dtype.itemsize])
    info = np.iinfo(dtype)
    return st.integers(int(info.min), int(info.max)) | st.sampled_from([int(info.min), int(info.max)])


@pytest.mark.parametrize("dtype", SMALL)
@given(st.data())
def test_means_of_small_integers_are_exact(dtype, data):
    binning, image = data.draw(images(dtype))
    binned = bin_mean(image, binning)
    assert binned.dtype == np.float32
    assert binned.tolist() == [[float(np.float32(float(m))) for m in row] for row in means(image, binning)]


def test_mean_is_rounded_once():
    block = np.zeros((3, 3), np.uint16)
    block[0, 0] = 17
    assert bin_mean(block, 3).tolist() == [[float(np.float32(17 / 9))]]


@pytest.mark.parametrize("dtype", WIDE)
@given(st.data())
def test_means_of_wide_integers_round_to_float32(dtype, data):
    binning, image = data.draw(images(dtype))
    binned = bin_mean(image, binning)
    assert binned.dtype == np.float32
    scale = float(np.abs(image.astype(np.float64)).max())
    np.testing.assert_allclose(binned, np.array(means(image, binning), float), rtol=2**-23, atol=scale * 2**-50)


@pytest.mark.parametrize(("dtype", "result"), [("f2", "f4"), ("f4", "f4"), ("f8", "f8")])
@given(st.data())
def test_means_of_floats_are_exact_to_rounding(dtype, result, data):
    binning, image = data.draw(images(dtype))
    binned = bin_mean(image, binning)
    assert binned.dtype == np.dtype(result)
    bits = 20 if result == "f4" else 48
    np.testing.assert_allclose(binned, np.array(means(image, binning), float), rtol=2.0**-bits, atol=1000 * 2.0**-bits)


@pytest.mark.parametrize("value", [65535, 65534])
def test_saturated_image_keeps_its_value(value):
    assert (bin_mean(np.full((128, 128), value, np.uint16), 64) == value).all()


def test_crop_precedes_binning():
    image = np.arange(8 * 10).reshape(8, 10).astype(np.uint16)
    geometry = Geometry((8, 10), (2, 4, 4, 6), 2)
    assert geometry.output_shape == (2, 3)
    assert geometry.apply(image).tolist() == bin_mean(image[2:6, 4:10], 2).tolist()
    assert image[2:4, 4:6].mean() == geometry.apply(image)[0, 0]


def test_binning_of_one_returns_a_view():
    image = np.arange(16, dtype=np.int64).reshape(4, 4)
    binned = Geometry((4, 4), (1, 1, 2, 3)).apply(image)
    assert binned.dtype == np.int64
    assert binned.tolist() == [[5, 6, 7], [9, 10, 11]]
    assert np.shares_memory(binned, image)


@pytest.mark.parametrize("crop", [(0, 0, 9, 8), (0, 0, 8, 9), (-1, 0, 4, 4), (0, -1, 4, 4), (4, 4, 5, 4), (0, 0, 0, 4)])
def test_crop_outside_detector_raises(crop):
    with pytest.raises(ValueError, match="exceeds the detector"):
        Geometry((8, 8), crop)


@pytest.mark.parametrize("binning", [0, -1, 3])
def test_binning_that_does_not_divide_raises(binning):
    with pytest.raises(ValueError, match="not divisible"):
        Geometry((8, 8), (0, 0, 8, 8), binning)


@pytest.mark.parametrize("shape", [(8, 7), (7, 8), (4, 16)])
def test_wrong_image_shape_raises_with_both_shapes(shape):
    with pytest.raises(BadFrameError, match=f"{shape[0]}x{shape[1]}.*8x8") as error:
        Geometry((8, 8), (0, 0, 8, 8), 2).apply(np.zeros(shape, np.uint16))
    assert error.value.reason == Reason.SHAPE


@pytest.mark.parametrize("dtype", [bool, complex, "S1"])
def test_wrong_image_type_raises_with_its_type(dtype):
    with pytest.raises(BadFrameError, match="expected integers or floats") as error:
        Geometry((8, 8), (0, 0, 8, 8), 2).apply(np.zeros((8, 8), dtype))
    assert error.value.reason == Reason.DTYPE
