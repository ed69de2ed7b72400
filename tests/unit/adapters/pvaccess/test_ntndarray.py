"""NTNDArrays decode to the frames they were built from; bad updates are rejected by name and reason.

Invariant for hostile input: a bad update raises BadFrameError with its reason, and no other exception.
"""

from __future__ import annotations

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.adapters.pvaccess import FAULTS, AttributeNames, build_ntndarray, corrupt, decode_frame, identify
from charon.adapters.pvaccess.pvapy import pva
from charon.errors import BadFrameError, Reason
from charon.frames import FrameId

DTYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
TIME_NS = 1_700_000_000_123_456_789
EPICS_EPOCH_S = 631_152_000

images = st.sampled_from(DTYPES).flatmap(
    lambda dtype: npst.arrays(
        dtype,
        st.tuples(st.integers(1, 40), st.integers(1, 40)),
        elements={"allow_nan": False, "allow_infinity": False} if dtype[0] == "f" else None,
    )
)


@settings(deadline=None)
@given(image=images, unique_id=st.integers(0, 2**31 - 1), codec=st.sampled_from([None, "lz4", "bslz4", "blosc"]))
def test_every_type_and_codec_round_trips(image, unique_id, codec):
    frame = decode_frame(build_ntndarray(image, unique_id, TIME_NS, {}, codec), "ad:image")
    assert frame.id == FrameId("ad:image", unique_id, TIME_NS)
    assert frame.image.dtype == image.dtype
    np.testing.assert_array_equal(frame.image, image)


def test_first_dimension_is_the_column():
    pv = build_ntndarray(np.arange(6, dtype="u2").reshape(2, 3), 1, TIME_NS)
    assert [d["size"] for d in pv["dimension"]] == [3, 2]
    assert list(pv["value"][0]["ushortValue"]) == [0, 1, 2, 3, 4, 5]
    assert decode_frame(pv, "c").image.shape == (2, 3)


def test_image_is_a_view_that_outlives_the_update():
    pv = build_ntndarray(np.full((64, 64), 7, "i2"), 1, TIME_NS)
    image = decode_frame(pv, "c").image
    assert not image.flags.owndata
    assert not image.flags.writeable
    del pv
    assert (image == 7).all()


def test_data_time_stamp_precedes_time_stamp():
    pv = build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS)
    pv["timeStamp"] = pva.PvTimeStamp(1_700_000_009, 0, 0)
    assert identify(pv, "c").time_ns == TIME_NS
    pv["dataTimeStamp"] = pva.PvTimeStamp(0, 0, 0)
    assert identify(pv, "c").time_ns == 1_700_000_009_000_000_000
    pv["timeStamp"] = pva.PvTimeStamp(EPICS_EPOCH_S, 0, 0)
    assert identify(pv, "c").time_ns == 0


def test_time_beyond_64_bits_is_ignored():
    pv = build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS)
    for seconds in (10**10, 2**62, -(2**62)):
        pv["timeStamp"] = pv["dataTimeStamp"] = pva.PvTimeStamp(seconds, 0, 0)
        assert identify(pv, "c").time_ns == 0


def test_data_time_stamp_from_1990_is_converted():
    pv = build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS)
    pv["dataTimeStamp"] = pva.PvTimeStamp(TIME_NS // 10**9 - EPICS_EPOCH_S, TIME_NS % 10**9, 0)
    assert identify(pv, "c").time_ns == TIME_NS


def test_attributes_determine_position_and_scan():
    attributes = {"x_position": 1.5e-6, "y_position": -2, "scan_id": 42, "Model": "Eiger", "open": True, "big": 2**40}
    frame = decode_frame(build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS, attributes), "c")
    assert dict(frame.attributes) == {"ColorMode": 0, **attributes}
    assert frame.position_m == (1.5e-6, -2.0)
    assert frame.scan == "42"


def test_attribute_names_and_unit_are_configurable():
    names = AttributeNames(x="SampleX", y="SampleY", scan="ScanNumber", position_unit_m=1e-6)
    pv = build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS, {"SampleX": 3.0, "SampleY": 4.0, "ScanNumber": "s7"})
    frame = decode_frame(pv, "c", names)
    assert frame.position_m == pytest.approx((3e-6, 4e-6))
    assert frame.scan == "s7"


@pytest.mark.parametrize("attributes", [{}, {"x_position": 1.0}, {"x_position": np.nan, "y_position": 0.0}])
def test_frame_without_valid_position_is_decoded(attributes):
    assert decode_frame(build_ntndarray(np.zeros((2, 2), "i2"), 1, TIME_NS, attributes), "c").position_m is None


REASONS = {
    "truncated": Reason.TRUNCATED,
    "codec": Reason.CODEC,
    "nan": Reason.NOT_FINITE,
    "empty": Reason.EMPTY,
    "colour": Reason.SHAPE,
}


@pytest.mark.parametrize("kind", sorted(REASONS))
def test_corrupt_image_is_rejected_by_reason(kind):
    bad = corrupt(build_ntndarray(np.ones((8, 8), "i2"), 9, TIME_NS), kind)
    assert identify(bad, "ad:image") == FrameId("ad:image", 9, TIME_NS)
    with pytest.raises(BadFrameError, match=f"ad:image/{TIME_NS}/9: ") as caught:
        decode_frame(bad, "ad:image")
    assert caught.value.reason is REASONS[kind]


def test_consistent_half_image_is_decoded():
    assert set(FAULTS) - set(REASONS) == {"shape"}
    bad = corrupt(build_ntndarray(np.ones((8, 8), "i2"), 9, TIME_NS), "shape")
    assert decode_frame(bad, "c").image.shape == (4, 8)


def test_empty_first_update_is_rejected():
    with pytest.raises(BadFrameError) as caught:
        decode_frame(pva.NtNdArray(), "c")
    assert caught.value.reason is Reason.EMPTY


def test_update_without_unique_id_is_rejected():
    scalar = pva.PvObject({"value": pva.DOUBLE}, {"value": 1.0})
    for read in (identify, decode_frame):
        with pytest.raises(BadFrameError, match="no uniqueId") as caught:
            read(scalar, "c")
        assert caught.value.reason is Reason.MALFORMED


def test_booleans_decode_to_numbers():
    pv = build_ntndarray(np.ones((1, 2), "i2"), 9, TIME_NS)
    pv["value"] = {"booleanValue": [True, False]}
    assert decode_frame(pv, "c").image.tolist() == [[1, 0]]


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("uncompressedSize", 10, Reason.TRUNCATED),
        ("compressedSize", 10**9, Reason.TRUNCATED),
        ("codec", pva.PvCodec("lz4", pva.PvString("short")), Reason.CODEC),
        ("codec", pva.PvCodec("lz4", pva.PvInt(99)), Reason.CODEC),
        ("codec", pva.PvCodec("blosc", pva.PvInt(2)), Reason.CODEC),
        ("dimension", [pva.PvDimension(n, 0, n, 1, False) for n in (2**31 - 1, 2**31 - 1)], Reason.TRUNCATED),
        ("dimension", [pva.PvDimension(n, 0, n, 1, False) for n in (64, -1)], Reason.SHAPE),
    ],
)
def test_inconsistent_compressed_image_is_rejected(field, value, reason):
    pv = build_ntndarray(np.ones((64, 64), "i2"), 9, TIME_NS, {}, "lz4")
    pv[field] = value
    with pytest.raises(BadFrameError) as caught:
        decode_frame(pv, "c")
    assert caught.value.reason is reason


def test_oversized_image_is_not_allocated():
    pv = build_ntndarray(np.ones((64, 64), "i2"), 9, TIME_NS, {}, "bslz4")
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (2**20, 2**20)]
    pv["uncompressedSize"] = 0
    with pytest.raises(BadFrameError, match="exceeds the limit"):
        decode_frame(pv, "c")


def test_unsupported_images_cannot_be_built():
    with pytest.raises(ValueError, match="complex64"):
        build_ntndarray(np.zeros((2, 2), np.complex64), 1, 0)
    with pytest.raises(ValueError, match="2 dimensions"):
        build_ntndarray(np.zeros(4, "i2"), 1, 0)
