"""The wire format is lossless, and any invalid bytes raise WireError only."""

from __future__ import annotations

import contextlib
import dataclasses

import cbor2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, WireError, decode, encode

INTEGERS = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"]
FLOATS = ["f2", "f4", "f8"]
FRAME_ID = FrameId("ad:image", 7, 1_700_000_000_000_000_001, 1_700_000_000_000_000_000)
WHOLE = {
    "v": 1,
    "kind": "frame",
    "id": ["ad:image", 7, 2, 1],
    "scan": "s",
    "times": {"received": 3},
    "position": [1e-6, -2e-6],
    "attributes": {"a": 1},
    "image": cbor2.CBORTag(40, [[2, 3], cbor2.CBORTag(69, bytes(range(12)))]),
}

names = st.text(max_size=8)
int64 = st.integers(-(2**63), 2**63 - 1)
ids = st.builds(FrameId, names, int64, int64, int64)
times = st.dictionaries(names, int64, max_size=3)
numbers = st.floats(allow_nan=False)
positions = st.none() | st.tuples(numbers, numbers)
attributes = st.dictionaries(names, st.none() | st.booleans() | int64 | numbers | names, max_size=4)
shapes = st.tuples(st.integers(0, 6), st.integers(0, 6))
orders = st.sampled_from(["<", ">"])


def arrays(kinds):
    """Arrays of either byte order, of any bits, contiguous or not."""
    dtypes = st.builds(lambda order, kind: np.dtype(order + kind), orders, st.sampled_from(kinds))

    def of(dtype, shape):
        size = shape[0] * shape[1] * dtype.itemsize
        return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))

    whole = st.tuples(dtypes, shapes).flatmap(lambda pair: of(*pair))
    views = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[::2, ::-1], np.asfortranarray])
    return st.builds(lambda view, array: view(array), views, whole)


frames = st.builds(Frame, ids, arrays(INTEGERS + FLOATS), names, positions, attributes, times)
rejections = st.builds(Rejection, ids, names, names, names, names, times)
late = st.builds(LatePosition, names, int64, st.tuples(numbers, numbers))


@st.composite
def patches(draw):
    phase = draw(arrays(FLOATS))
    amplitude = None if draw(st.booleans()) else np.zeros(phase.shape, draw(st.sampled_from(FLOATS)))
    return Patch(
        id=draw(ids),
        run=draw(names),
        phase=phase,
        pixel_m=draw(numbers),
        model=draw(names),
        amplitude=amplitude,
        scan=draw(names),
        position_m=draw(positions),
        attributes=draw(attributes),
        times_ns=draw(times),
    )


def assert_same(a, b):
    assert type(a) is type(b)
    for part in dataclasses.fields(a):
        mine, theirs = getattr(a, part.name), getattr(b, part.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype.newbyteorder("<")
            assert mine.shape == theirs.shape
            # As bits: a NaN keeps its payload, a zero its sign.
            assert mine.tobytes() == theirs.astype(theirs.dtype.newbyteorder("<"), copy=False).tobytes()
        else:
            assert mine == theirs
            assert type(mine) is type(theirs)


@given(st.one_of(frames, patches(), rejections, late))
def test_every_message_comes_back_as_it_went(message):
    assert_same(decode(encode(message)), message)


@pytest.mark.parametrize("kind", INTEGERS + FLOATS)
@given(data=st.data())
def test_every_type_keeps_its_extremes(kind, data):
    image = data.draw(hnp.arrays(np.dtype(kind), (2, 3)))
    found = decode(encode(Frame(FRAME_ID, image)))
    assert found.image.dtype == image.dtype
    assert found.image.tobytes() == image.tobytes()


@pytest.mark.parametrize("image", [np.zeros((2, 2), bool), np.zeros((2, 2), complex), np.zeros((2, 2), "U3")])
def test_an_array_that_has_no_place_is_refused_by_name(image):
    with pytest.raises(WireError, match=str(image.dtype)):
        encode(Frame(FRAME_ID, image))


def assert_only_wire_error(payload):
    """Nothing else comes out, and the reader is none the worse for it."""
    with contextlib.suppress(WireError):
        decode(payload)
    assert decode(cbor2.dumps(WHOLE)).id.unique_id == 7


def test_a_message_cut_anywhere_is_refused():
    payload = cbor2.dumps(WHOLE)
    assert decode(payload).image.tolist() == [[0x100, 0x302, 0x504], [0x706, 0x908, 0xB0A]]
    for length in range(len(payload)):
        with pytest.raises(WireError):
            decode(payload[:length])


@given(st.binary(max_size=60))
def test_random_bytes(payload):
    assert_only_wire_error(payload)


@given(st.data())
def test_a_message_with_bytes_changed(data):
    payload = bytearray(cbor2.dumps(WHOLE))
    for place in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[place] = data.draw(st.integers(0, 255))
    assert_only_wire_error(bytes(payload))


junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=3)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=2), inner, max_size=3)
        | st.builds(cbor2.CBORTag, st.sampled_from([0, 1, 2, 4, 5, 28, 29, 30, 35, 36, 37, 40, 64, 69, 85, 258]), inner)
    ),
    max_leaves=6,
)
KEYS = [*WHOLE, "run", "phase", "amplitude", "pixel", "model", "reason", "detail", "vertex", "channel", "time"]


@given(st.sampled_from(["frame", "patch", "rejection", "position"]), st.sampled_from(KEYS), junk)
def test_any_field_may_hold_anything(kind, key, value):
    array = cbor2.CBORTag(40, [[1, 1], cbor2.CBORTag(85, bytes(4))])
    texts = dict.fromkeys(["run", "model", "reason", "detail", "vertex", "channel"], "x")
    whole = {**WHOLE, **texts, "kind": kind, "phase": array, "amplitude": None, "pixel": 1e-9, "time": 1}
    decode(cbor2.dumps(whole))
    assert_only_wire_error(cbor2.dumps({**whole, key: value}))


WRONG = {
    "another version": {"v": 2},
    "a version that is an array": {"v": cbor2.CBORTag(64, b"ab")},
    "another kind": {"kind": "film"},
    "a kind that cannot be looked up": {"kind": ["frame"]},
    "dimensions that do not match": {"image": cbor2.CBORTag(40, [[3, 3], cbor2.CBORTag(69, bytes(12))])},
    "a dimension to be guessed": {"image": cbor2.CBORTag(40, [[-1, 3], cbor2.CBORTag(69, bytes(12))])},
    "dimensions that are no numbers": {"image": cbor2.CBORTag(40, ["ab", cbor2.CBORTag(69, bytes(12))])},
    "dimensions without values": {"image": cbor2.CBORTag(40, [[2, 3]])},
    "values without a type": {"image": cbor2.CBORTag(40, [[2, 3], bytes(6)])},
    "a part of a value": {"image": cbor2.CBORTag(40, [[2, 3], cbor2.CBORTag(69, bytes(11))])},
    "one dimension": {"image": cbor2.CBORTag(40, [[6], cbor2.CBORTag(69, bytes(12))])},
    "three dimensions": {"image": cbor2.CBORTag(40, [[1, 2, 3], cbor2.CBORTag(69, bytes(12))])},
    "no image": {"image": None},
    "a number without bound": {"id": ["ad:image", float("inf"), 2, 1]},
    "a name that is no text": {"id": [3, 1, 2, 1]},
    "an id too short": {"id": ["ad:image", 1]},
    "a position beyond all floats": {"position": [10**400, 0]},
    "a position of three": {"position": [0.0, 0.0, 0.0]},
    "a position in words": {"position": ["1e-6", "2e-6"]},
    "times that are no map": {"times": [1]},
    "times that are no numbers": {"times": {"received": "noon"}},
    "attributes that are no map": {"attributes": 3},
    "attributes that hold more": {"attributes": {"a": [1]}},
    "a scan that is no text": {"scan": ["s"]},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG.keys())
def test_a_message_of_the_wrong_form_is_refused(changed):
    with pytest.raises(WireError):
        decode(cbor2.dumps({**WHOLE, **changed}))


@pytest.mark.parametrize("key", WHOLE)
def test_a_message_that_lacks_a_field_is_refused(key):
    with pytest.raises(WireError, match=key if key not in {"v", "kind"} else "version|kind"):
        decode(cbor2.dumps({name: value for name, value in WHOLE.items() if name != key}))


HUGE = {
    "bytes": b"\x5b" + b"\x7f" * 8,
    "text": b"\x7b" + b"\x7f" * 8,
    "array": b"\x9b" + b"\x7f" * 8,
    "map": b"\xbb" + b"\x7f" * 8,
    "a typed array": b"\xd8\x45\x5b" + b"\x7f" * 8,
}


@pytest.mark.parametrize("start", HUGE.values(), ids=HUGE.keys())
def test_a_length_that_no_memory_has_is_refused(start):
    with pytest.raises(WireError):
        decode(start + b"some bytes")


@pytest.mark.parametrize("step", [b"\x81", b"\xa1\x00", b"\xc1", b"\xd8\x28"], ids=["lists", "maps", "tags", "arrays"])
def test_nesting_without_end_is_refused(step):
    with pytest.raises(WireError):
        decode(step * 100_000 + b"\x00")


def test_a_map_with_a_key_that_is_no_key_is_refused():
    with pytest.raises(WireError):
        decode(b"\xa1" + cbor2.dumps(cbor2.CBORTag(64, b"ab")) + b"\x01")


def test_the_error_says_what_is_wrong():
    shape = cbor2.CBORTag(40, [[3, 3], cbor2.CBORTag(69, bytes(12))])
    with pytest.raises(WireError, match="3x3 values"):
        decode(cbor2.dumps({**WHOLE, "image": shape}))
