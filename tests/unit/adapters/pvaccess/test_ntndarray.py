"""An NTNDArray and a frame say the same, and whatever is not a good image is rejected by name and reason.

The invariant of the hostile half: a bad update raises BadFrameError with its reason and nothing else.
"""

from __future__ import annotations

import hypothesis.extra.numpy as npst
import numpy as np
import pvaccess as pva
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.adapters.pvaccess import FAULTS, AttributeNames, frame_from, identify, ntndarray_from, spoiled
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
def test_every_type_and_codec_comes_back_bit_for_bit(image, unique_id, codec):
    frame = frame_from(ntndarray_from(image, unique_id, TIME_NS, {}, codec), "ad:image")
    assert frame.id == FrameId("ad:image", unique_id, TIME_NS)
    assert frame.image.dtype == image.dtype
    np.testing.assert_array_equal(frame.image, image)


def test_first_dimension_is_the_column():
    pv = ntndarray_from(np.arange(6, dtype="u2").reshape(2, 3), 1, TIME_NS)
    assert [d["size"] for d in pv["dimension"]] == [3, 2]
    assert list(pv["value"][0]["ushortValue"]) == [0, 1, 2, 3, 4, 5]
    assert frame_from(pv, "c").image.shape == (2, 3)


def test_image_is_a_view_that_outlives_its_update():
    pv = ntndarray_from(np.full((64, 64), 7, "i2"), 1, TIME_NS)
    image = frame_from(pv, "c").image
    assert not image.flags.owndata
    assert not image.flags.writeable
    del pv
    assert (image == 7).all()


def test_data_time_stamp_counts_before_time_stamp():
    pv = ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS)
    pv["timeStamp"] = pva.PvTimeStamp(1_700_000_009, 0, 0)
    assert identify(pv, "c").time_ns == TIME_NS
    pv["dataTimeStamp"] = pva.PvTimeStamp(0, 0, 0)
    assert identify(pv, "c").time_ns == 1_700_000_009_000_000_000
    pv["timeStamp"] = pva.PvTimeStamp(EPICS_EPOCH_S, 0, 0)
    assert identify(pv, "c").time_ns == 0


def test_a_time_that_no_integer_of_ns_holds_is_none():
    pv = ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS)
    for seconds in (10**10, 2**62, -(2**62)):
        pv["timeStamp"] = pv["dataTimeStamp"] = pva.PvTimeStamp(seconds, 0, 0)
        assert identify(pv, "c").time_ns == 0


def test_data_time_stamp_that_counts_from_1990_is_put_right():
    pv = ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS)
    pv["dataTimeStamp"] = pva.PvTimeStamp(TIME_NS // 10**9 - EPICS_EPOCH_S, TIME_NS % 10**9, 0)
    assert identify(pv, "c").time_ns == TIME_NS


def test_attributes_are_plain_values_and_give_position_and_scan():
    attributes = {"x_position": 1.5e-6, "y_position": -2, "scan_id": 42, "Model": "Eiger", "open": True, "big": 2**40}
    frame = frame_from(ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS, attributes), "c")
    assert dict(frame.attributes) == {"ColorMode": 0, **attributes}
    assert frame.position_m == (1.5e-6, -2.0)
    assert frame.scan == "42"


def test_position_has_the_names_and_unit_that_the_beamline_uses():
    names = AttributeNames(x="SampleX", y="SampleY", scan="ScanNumber", position_unit_m=1e-6)
    pv = ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS, {"SampleX": 3.0, "SampleY": 4.0, "ScanNumber": "s7"})
    frame = frame_from(pv, "c", names)
    assert frame.position_m == pytest.approx((3e-6, 4e-6))
    assert frame.scan == "s7"


@pytest.mark.parametrize("attributes", [{}, {"x_position": 1.0}, {"x_position": np.nan, "y_position": 0.0}])
def test_frame_without_a_usable_position_is_a_frame(attributes):
    assert frame_from(ntndarray_from(np.zeros((2, 2), "i2"), 1, TIME_NS, attributes), "c").position_m is None


REASONS = {
    "truncated": Reason.TRUNCATED,
    "codec": Reason.CODEC,
    "nan": Reason.NOT_FINITE,
    "empty": Reason.EMPTY,
    "colour": Reason.SHAPE,
}


@pytest.mark.parametrize("kind", sorted(REASONS))
def test_bad_image_is_rejected_by_name_and_reason(kind):
    bad = spoiled(ntndarray_from(np.ones((8, 8), "i2"), 9, TIME_NS), kind)
    assert identify(bad, "ad:image") == FrameId("ad:image", 9, TIME_NS)
    with pytest.raises(BadFrameError, match=f"ad:image/{TIME_NS}/9: ") as caught:
        frame_from(bad, "ad:image")
    assert caught.value.reason is REASONS[kind]


def test_half_an_image_that_says_so_is_a_smaller_frame():
    assert set(FAULTS) - set(REASONS) == {"shape"}
    bad = spoiled(ntndarray_from(np.ones((8, 8), "i2"), 9, TIME_NS), "shape")
    assert frame_from(bad, "c").image.shape == (4, 8)


def test_empty_first_update_of_a_channel():
    with pytest.raises(BadFrameError) as caught:
        frame_from(pva.NtNdArray(), "c")
    assert caught.value.reason is Reason.EMPTY


def test_what_is_no_ntndarray_has_no_name():
    scalar = pva.PvObject({"value": pva.DOUBLE}, {"value": 1.0})
    for read in (identify, frame_from):
        with pytest.raises(BadFrameError, match="no uniqueId") as caught:
            read(scalar, "c")
        assert caught.value.reason is Reason.MALFORMED


def test_flags_are_numbers():
    pv = ntndarray_from(np.ones((1, 2), "i2"), 9, TIME_NS)
    pv["value"] = {"booleanValue": [True, False]}
    assert frame_from(pv, "c").image.tolist() == [[1, 0]]


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
def test_compressed_image_that_lies_is_rejected(field, value, reason):
    pv = ntndarray_from(np.ones((64, 64), "i2"), 9, TIME_NS, {}, "lz4")
    pv[field] = value
    with pytest.raises(BadFrameError) as caught:
        frame_from(pv, "c")
    assert caught.value.reason is reason


def test_image_beyond_the_limit_is_not_allocated():
    pv = ntndarray_from(np.ones((64, 64), "i2"), 9, TIME_NS, {}, "bslz4")
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (2**20, 2**20)]
    pv["uncompressedSize"] = 0
    with pytest.raises(BadFrameError, match="beyond the limit"):
        frame_from(pv, "c")


def test_images_of_other_types_are_not_published():
    with pytest.raises(ValueError, match="complex64"):
        ntndarray_from(np.zeros((2, 2), np.complex64), 1, 0)
    with pytest.raises(ValueError, match="2 dimensions"):
        ntndarray_from(np.zeros(4, "i2"), 1, 0)
