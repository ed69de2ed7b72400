"""Payloads of other encoders are decoded; corrupt payloads are rejected, never decoded to another size."""

from __future__ import annotations

import io

import h5py
import hdf5plugin
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.adapters.pvaccess.codecs import CODECS, compress, decompress
from charon.errors import BadFrameError, Reason

DTYPES = ("u1", "i2", "u2", "i4", "f4", "i8", "f8")


def pattern(dtype, shape=(96, 117)):
    """Return counts like those of a diffraction pattern: mostly small, a few large."""
    rng = np.random.default_rng(7)
    return np.minimum(rng.poisson(2, shape) + 90 * (rng.random(shape) < 0.01), 120).astype(dtype)


def hdf5_chunk(image, **filters):
    """Return an image compressed by HDF5's own filter, an independent encoder."""
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("image", data=image, chunks=image.shape, **filters)
        return np.frombuffer(dataset.id.read_direct_chunk((0, 0))[1], np.uint8)


ENCODERS = {
    "bslz4": (hdf5plugin.Bitshuffle(nelems=0, cname="lz4"), 12),
    "bslz4 with header": (hdf5plugin.Bitshuffle(nelems=0, cname="lz4"), 0),
    "bslz4 with small blocks": (hdf5plugin.Bitshuffle(nelems=256, cname="lz4"), 0),
    "lz4": (hdf5plugin.LZ4(nbytes=0), 16),
    "lz4hdf5": (hdf5plugin.LZ4(nbytes=1024), 0),
    "blosc": (hdf5plugin.Blosc(cname="zstd", shuffle=2), 0),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("encoder", sorted(ENCODERS))
def test_payload_of_other_encoder_is_decoded(encoder, dtype):
    filters, header = ENCODERS[encoder]
    image = pattern(dtype)
    payload = hdf5_chunk(image, **filters)[header:]
    decoded = decompress(encoder.split(maxsplit=1)[0], payload, image.dtype, image.size)
    np.testing.assert_array_equal(decoded.reshape(image.shape), image)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bslz4_stream_matches_hdf5(dtype):
    image = pattern(dtype)
    filters, header = ENCODERS["bslz4"]
    expected = hdf5_chunk(image, **filters)[header:]
    decoded = decompress("bslz4", compress("bslz4", image), image.dtype, image.size)
    np.testing.assert_array_equal(decoded, image.ravel())
    assert abs(compress("bslz4", image).size - expected.size) < 0.1 * expected.size


@pytest.mark.parametrize("codec", ["lz4", "bslz4", "blosc"])
def test_truncated_payload_is_rejected(codec):
    image = pattern("i2")
    payload = compress(codec, image)
    for length in [*range(20), *range(20, payload.size, 97), payload.size - 1]:
        with pytest.raises(BadFrameError) as caught:
            decompress(codec, payload[:length], image.dtype, image.size)
        assert caught.value.reason in (Reason.CODEC, Reason.TRUNCATED)


@settings(deadline=None, max_examples=300)
@given(codec=st.sampled_from(CODECS), data=st.binary(max_size=300), count=st.integers(0, 5000))
def test_random_payload_never_changes_the_size(codec, data, count):
    dtype = np.dtype("i2")
    try:
        decoded = decompress(codec, np.frombuffer(data, np.uint8), dtype, count)
    except BadFrameError as error:
        reason = error.reason
    else:
        reason = None
        assert decoded.shape == (count,)
    assert reason in (None, Reason.CODEC, Reason.TRUNCATED)


@settings(deadline=None, max_examples=300)
@given(codec=st.sampled_from(["lz4", "bslz4", "blosc"]), where=st.floats(0, 1), flip=st.integers(1, 255))
def test_flipped_bits_never_change_the_size(codec, where, flip):
    image = pattern("i2", (32, 33))
    payload = compress(codec, image).copy()
    payload[int(where * (payload.size - 1))] ^= flip
    try:
        decoded = decompress(codec, payload, image.dtype, image.size)
    except BadFrameError:
        return
    assert decoded.shape == (image.size,)


def test_unknown_codec_is_named():
    with pytest.raises(BadFrameError, match=r"unknown codec 'jpeg'.*lz4") as caught:
        decompress("jpeg", np.zeros(4, np.uint8), np.dtype("u1"), 4)
    assert caught.value.reason is Reason.CODEC
    with pytest.raises(ValueError, match="jpeg"):
        compress("jpeg", np.zeros(4, np.uint8))
