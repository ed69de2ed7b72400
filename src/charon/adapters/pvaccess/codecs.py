"""Codecs of compressed area detector images: lz4, bslz4, blosc, lz4hdf5.

The formats are those of ADCore's NDPluginCodec: ``lz4`` is one plain LZ4 block; ``bslz4`` is bitshuffle's
stream of 8 KiB blocks, each with its length in 4 bytes, big-endian; ``blosc`` is a Blosc 1 frame; ``lz4hdf5``
is the stream of HDF5 filter 32004. DECTRIS cameras prepend the 12-byte header of the HDF5 filter to a
``bslz4`` stream; the decoder detects and skips it.

Payloads are not trusted: the declared shape of the image determines the size of the output, and no decoder
writes beyond it.

References
----------
K. Masui et al., "A compression scheme for radio data in high performance computing", Astronomy and
Computing 12 (2015), doi:10.1016/j.ascom.2015.07.002.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np

from charon.errors import BadFrameError, Reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

CODECS = ("lz4", "bslz4", "blosc", "lz4hdf5")
MAX_IMAGE_BYTES = 1 << 30
_BLOCK_BYTES = 8192
_HDF5_HEADER = struct.Struct(">QI")
_LENGTH = struct.Struct(">I")


def decompress(codec: str, payload: NDArray[np.uint8], dtype: np.dtype[Any], count: int) -> NDArray[Any]:
    """Return the elements of a compressed payload.

    Parameters
    ----------
    codec
        One of `CODECS`.
    payload
        (bytes,) uint8, as received.
    dtype
        Type of the elements, little-endian.
    count
        Number of elements according to the image's dimensions.

    Returns
    -------
    ndarray
        (count,) of `dtype`, a new array.

    Raises
    ------
    BadFrameError
        If the codec is unknown, or the payload is truncated, corrupt or has the wrong size.
    """
    decoder = _DECODERS.get(codec)
    if decoder is None:
        raise BadFrameError(Reason.CODEC, f"unknown codec {codec!r}; supported: {', '.join(CODECS)}")
    size = count * dtype.itemsize
    if size > MAX_IMAGE_BYTES:
        raise BadFrameError(Reason.SHAPE, f"image of {size} bytes exceeds the limit of {MAX_IMAGE_BYTES}")
    data = payload.tobytes()
    try:
        raw = decoder(data, size, dtype.itemsize)
    except (RuntimeError, ValueError, struct.error) as error:
        raise BadFrameError(Reason.CODEC, f"cannot decompress {len(data)} {codec} bytes to {size}: {error}") from error
    if len(raw) != size:
        raise BadFrameError(Reason.TRUNCATED, f"the {codec} payload contains {len(raw)} of {size} bytes")
    return np.frombuffer(raw, dtype)


def compress(codec: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the compressed bytes of an array, (bytes,) uint8, in the format of area detectors.

    Raises
    ------
    ValueError
        If the codec is unknown.
    """
    encoder = _ENCODERS.get(codec)
    if encoder is None:
        raise ValueError(f"unknown codec {codec!r}; supported: {', '.join(_ENCODERS)}")
    data = np.ascontiguousarray(array)
    return np.frombuffer(encoder(data.tobytes(), data.dtype.itemsize), np.uint8)


def _lz4(payload: bytes, size: int, _itemsize: int) -> bytearray:
    out = bytearray(size)
    filled = _lz4_block(payload, memoryview(out))
    return out if filled == size else out[:filled]


def _lz4_block(block: bytes, out: memoryview) -> int:
    """Decompress one LZ4 block into `out`, which limits its size; return the number of bytes written."""
    return len(imagecodecs.lz4_decode(block, out=out))


def _bslz4(payload: bytes, size: int, itemsize: int) -> bytes:
    start, block_bytes = 0, _BLOCK_BYTES
    if len(payload) >= _HDF5_HEADER.size:
        declared, header_block_bytes = _HDF5_HEADER.unpack_from(payload)
        # A stream without a header starts with the length of its first block, never with four zero bytes.
        if declared == size and header_block_bytes % (8 * itemsize) == 0 and header_block_bytes:
            start, block_bytes = _HDF5_HEADER.size, header_block_bytes
    # Only complete groups of eight elements are shuffled; the remaining elements follow uncompressed.
    shuffled = size - size % (8 * itemsize)
    out = bytearray(size)
    end = _blocks(payload, start, memoryview(out)[:shuffled], block_bytes)
    rest = payload[end : end + size - shuffled]
    if len(rest) != size - shuffled:
        raise ValueError(f"the payload ends {size - shuffled - len(rest)} bytes early")
    out[shuffled:] = rest
    return bytes(imagecodecs.bitshuffle_decode(out, itemsize=itemsize, blocksize=block_bytes // itemsize))


def _lz4hdf5(payload: bytes, size: int, _itemsize: int) -> bytearray:
    declared, block_bytes = _HDF5_HEADER.unpack_from(payload)
    if declared != size or not block_bytes:
        raise ValueError(f"the header declares {declared} bytes in blocks of {block_bytes}")
    out = bytearray(size)
    _blocks(payload, _HDF5_HEADER.size, memoryview(out), block_bytes, stored=True)
    return out


def _blocks(payload: bytes, start: int, out: memoryview, block_bytes: int, *, stored: bool = False) -> int:
    """Decompress length-prefixed LZ4 blocks into `out`; return the offset of their end in the payload.

    With `stored`, a block of the same size as its content is uncompressed: the HDF5 filter stores
    incompressible blocks unchanged, bitshuffle does not.
    """
    for done in range(0, len(out), block_bytes):
        target = out[done : done + block_bytes]
        (length,) = _LENGTH.unpack_from(payload, start)
        block = payload[start + _LENGTH.size : start + _LENGTH.size + length]
        if len(block) != length:
            raise ValueError(f"the payload ends {length - len(block)} bytes early, in the block at image byte {done}")
        start += _LENGTH.size + length
        if stored and length == len(target):
            target[:] = block
        elif _lz4_block(block, target) != len(target):
            raise ValueError(f"the block at byte {done} of the image contains fewer than {len(target)} bytes")
    return start


def _blosc(payload: bytes, size: int, _itemsize: int) -> bytearray:
    if len(payload) < 16:
        raise ValueError("the Blosc header of 16 bytes is incomplete")
    uncompressed, _, compressed = struct.unpack_from("<III", payload, 4)
    if uncompressed != size or compressed != len(payload):
        raise ValueError(f"the header declares {uncompressed} bytes, compressed to {compressed}")
    out = bytearray(size)
    imagecodecs.blosc_decode(payload, numthreads=1, out=out)
    return out


def _encode_bslz4(data: bytes, itemsize: int) -> bytes:
    shuffled = len(data) - len(data) % (8 * itemsize)
    bits = imagecodecs.bitshuffle_encode(data[:shuffled], itemsize=itemsize, blocksize=_BLOCK_BYTES // itemsize)
    parts: list[bytes] = []
    for start in range(0, shuffled, _BLOCK_BYTES):
        block = bytes(imagecodecs.lz4_encode(bits[start : start + _BLOCK_BYTES]))
        parts += [_LENGTH.pack(len(block)), block]
    return b"".join([*parts, data[shuffled:]])


def _encode_lz4(data: bytes, _itemsize: int) -> bytes:
    return bytes(imagecodecs.lz4_encode(data))


def _encode_blosc(data: bytes, itemsize: int) -> bytes:
    return bytes(imagecodecs.blosc_encode(data, 5, compressor="lz4", shuffle=1, typesize=itemsize, numthreads=1))


_DECODERS: dict[str, Callable[[bytes, int, int], bytes | bytearray]] = {
    "lz4": _lz4,
    "bslz4": _bslz4,
    "blosc": _blosc,
    "lz4hdf5": _lz4hdf5,
}
_ENCODERS: dict[str, Callable[[bytes, int], bytes]] = {
    "lz4": _encode_lz4,
    "bslz4": _encode_bslz4,
    "blosc": _encode_blosc,
}
