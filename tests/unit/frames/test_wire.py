"""The wire format is lossless, and invalid bytes raise only WireError."""

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
VALID = {
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
    """Return arrays of both byte orders with arbitrary bits, contiguous or not."""
    dtypes = st.builds(lambda order, kind: np.dtype(order + kind), orders, st.sampled_from(kinds))

    def of(dtype, shape):
        size = shape[0] * shape[1] * dtype.itemsize
        return st.binary(min_size=size, max_size=size).map(lambda raw: np.frombuffer(raw, dtype).reshape(shape))

    contiguous = st.tuples(dtypes, shapes).flatmap(lambda pair: of(*pair))
    views = st.sampled_from([lambda a: a, lambda a: a.T, lambda a: a[::2, ::-1], np.asfortranarray])
    return st.builds(lambda view, array: view(array), views, contiguous)


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


def decoded_frame(payload):
    """Decode a message that must be a frame."""
    message = decode(payload)
    assert isinstance(message, Frame)
    return message


def assert_same(a, b):
    assert type(a) is type(b)
    for part in dataclasses.fields(a):
        decoded, sent = getattr(a, part.name), getattr(b, part.name)
        if isinstance(decoded, np.ndarray):
            assert decoded.dtype == sent.dtype.newbyteorder("<")
            assert decoded.shape == sent.shape
            # Compare bits: a NaN keeps its payload, a zero its sign.
            assert decoded.tobytes() == sent.astype(sent.dtype.newbyteorder("<"), copy=False).tobytes()
        else:
            assert decoded == sent
            assert type(decoded) is type(sent)


@given(st.one_of(frames, patches(), rejections, late))
def test_decode_restores_every_message(message):
    assert_same(decode(encode(message)), message)


@pytest.mark.parametrize("kind", INTEGERS + FLOATS)
@given(data=st.data())
def test_arrays_of_every_type_are_lossless(kind, data):
    image = data.draw(hnp.arrays(np.dtype(kind), (2, 3)))
    frame = decoded_frame(encode(Frame(FRAME_ID, image)))
    assert frame.image.dtype == image.dtype
    assert frame.image.tobytes() == image.tobytes()


@pytest.mark.parametrize("image", [np.zeros((2, 2), bool), np.zeros((2, 2), complex), np.zeros((2, 2), "U3")])
def test_encode_rejects_unsupported_type(image):
    with pytest.raises(WireError, match=str(image.dtype)):
        encode(Frame(FRAME_ID, image))


def assert_only_wire_error(payload):
    """Check that `decode` raises only WireError and still decodes a valid message afterwards."""
    with contextlib.suppress(WireError):
        decode(payload)
    assert decoded_frame(cbor2.dumps(VALID)).id.unique_id == 7


def test_decode_rejects_truncated_message():
    payload = cbor2.dumps(VALID)
    assert decoded_frame(payload).image.tolist() == [[0x100, 0x302, 0x504], [0x706, 0x908, 0xB0A]]
    for length in range(len(payload)):
        with pytest.raises(WireError):
            decode(payload[:length])


@given(st.binary(max_size=60))
def test_random_bytes_raise_only_wire_error(payload):
    assert_only_wire_error(payload)


@given(st.data())
def test_changed_bytes_raise_only_wire_error(data):
    payload = bytearray(cbor2.dumps(VALID))
    for offset in data.draw(st.lists(st.integers(0, len(payload) - 1), min_size=1, max_size=4)):
        payload[offset] = data.draw(st.integers(0, 255))
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
KEYS = [*VALID, "run", "phase", "amplitude", "pixel", "model", "reason", "detail", "vertex", "channel", "time"]


@given(st.sampled_from(["frame", "patch", "rejection", "position"]), st.sampled_from(KEYS), junk)
def test_any_field_value_raises_only_wire_error(kind, key, value):
    array = cbor2.CBORTag(40, [[1, 1], cbor2.CBORTag(85, bytes(4))])
    texts = dict.fromkeys(["run", "model", "reason", "detail", "vertex", "channel"], "x")
    fields = {**VALID, **texts, "kind": kind, "phase": array, "amplitude": None, "pixel": 1e-9, "time": 1}
    decode(cbor2.dumps(fields))
    assert_only_wire_error(cbor2.dumps({**fields, key: value}))


INVALID = {
    "unknown version": {"v": 2},
    "version is an array": {"v": cbor2.CBORTag(64, b"ab")},
    "unknown kind": {"kind": "film"},
    "kind is not hashable": {"kind": ["frame"]},
    "wrong dimensions": {"image": cbor2.CBORTag(40, [[3, 3], cbor2.CBORTag(69, bytes(12))])},
    "negative dimension": {"image": cbor2.CBORTag(40, [[-1, 3], cbor2.CBORTag(69, bytes(12))])},
    "dimensions are not numbers": {"image": cbor2.CBORTag(40, ["ab", cbor2.CBORTag(69, bytes(12))])},
    "missing values": {"image": cbor2.CBORTag(40, [[2, 3]])},
    "values without element type": {"image": cbor2.CBORTag(40, [[2, 3], bytes(6)])},
    "incomplete value": {"image": cbor2.CBORTag(40, [[2, 3], cbor2.CBORTag(69, bytes(11))])},
    "1-D image": {"image": cbor2.CBORTag(40, [[6], cbor2.CBORTag(69, bytes(12))])},
    "3-D image": {"image": cbor2.CBORTag(40, [[1, 2, 3], cbor2.CBORTag(69, bytes(12))])},
    "image is null": {"image": None},
    "infinite uniqueId": {"id": ["ad:image", float("inf"), 2, 1]},
    "channel is not a string": {"id": [3, 1, 2, 1]},
    "id too short": {"id": ["ad:image", 1]},
    "position exceeds float range": {"position": [10**400, 0]},
    "position has 3 elements": {"position": [0.0, 0.0, 0.0]},
    "position is not numeric": {"position": ["1e-6", "2e-6"]},
    "times is not a map": {"times": [1]},
    "times are not numbers": {"times": {"received": "noon"}},
    "attributes is not a map": {"attributes": 3},
    "attribute is not a scalar": {"attributes": {"a": [1]}},
    "scan is not a string": {"scan": ["s"]},
}


@pytest.mark.parametrize("changed", INVALID.values(), ids=INVALID.keys())
def test_decode_rejects_invalid_field(changed):
    with pytest.raises(WireError):
        decode(cbor2.dumps({**VALID, **changed}))


@pytest.mark.parametrize("key", VALID)
def test_decode_names_missing_field(key):
    with pytest.raises(WireError, match=key if key not in {"v", "kind"} else "version|kind"):
        decode(cbor2.dumps({name: value for name, value in VALID.items() if name != key}))


HUGE = {
    "bytes": b"\x5b" + b"\x7f" * 8,
    "text": b"\x7b" + b"\x7f" * 8,
    "array": b"\x9b" + b"\x7f" * 8,
    "map": b"\xbb" + b"\x7f" * 8,
    "typed array": b"\xd8\x45\x5b" + b"\x7f" * 8,
}


@pytest.mark.parametrize("start", HUGE.values(), ids=HUGE.keys())
def test_decode_rejects_huge_length(start):
    with pytest.raises(WireError):
        decode(start + b"some bytes")


@pytest.mark.parametrize("step", [b"\x81", b"\xa1\x00", b"\xc1", b"\xd8\x28"], ids=["lists", "maps", "tags", "arrays"])
def test_decode_rejects_deep_nesting(step):
    with pytest.raises(WireError):
        decode(step * 100_000 + b"\x00")


def test_decode_rejects_array_as_key():
    with pytest.raises(WireError):
        decode(b"\xa1" + cbor2.dumps(cbor2.CBORTag(64, b"ab")) + b"\x01")


def test_error_states_expected_number_of_values():
    shape = cbor2.CBORTag(40, [[3, 3], cbor2.CBORTag(69, bytes(12))])
    with pytest.raises(WireError, match="3x3 values"):
        decode(cbor2.dumps({**VALID, "image": shape}))
