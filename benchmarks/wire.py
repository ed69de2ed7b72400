"""Measure the size and the time to encode and decode of a message in several published formats.

Arrow (``pip install pyarrow``) and safetensors (``pip install safetensors``) are measured if they are installed;
Charon requires neither.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.frames import Frame, FrameId, decode, encode

if TYPE_CHECKING:
    from collections.abc import Callable

    Codec = tuple[str, Callable[[], bytes], Callable[[bytes], Any]]


def main() -> None:
    """Print the costs of one frame in each format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=128, help="pixels along a side of the frame")
    parser.add_argument("--rounds", type=int, default=1500, help="number of measurements")
    options = parser.parse_args()
    for dtype in ("float32", "int16"):
        frame = _frame(options.side, dtype)
        print(f"{options.side}x{options.side} {dtype}, {frame.image.nbytes} bytes of image")
        for name, write, read in _codecs(frame):
            payload = write()
            encode_us = _median_us(write, options.rounds)
            decode_us = _median_us(lambda payload=payload, read=read: read(payload), options.rounds)
            overhead = len(payload) - frame.image.nbytes
            print(f"  {name:12} {overhead:5} bytes overhead, encode {encode_us:6.1f} us, decode {decode_us:6.1f} us")


def _frame(side: int, dtype: str) -> Frame:
    image = np.random.default_rng(1).poisson(5.0, (side, side)).astype(dtype)
    frame_id = FrameId("ad:image", 1234, 1_795_000_000_000_000_000, 1_795_000_000_000_000_000)
    times = {"received": 1_795_000_000_000_100_000, "accepted": 1_795_000_000_000_200_000}
    attributes = {"ColorMode": 0, "x_position": 1.25e-6, "y_position": -3.5e-7, "scan_id": "scan-1"}
    return Frame(frame_id, image, "scan-1", (1.25e-6, -3.5e-7), attributes, times)


def _codecs(frame: Frame) -> list[Codec]:
    codecs: list[Codec] = [("CBOR", lambda: encode(frame), decode)]
    if importlib.util.find_spec("pyarrow"):
        codecs.append(_arrow(frame))
    if importlib.util.find_spec("safetensors"):
        codecs.append(_safetensors(frame))
    return codecs


def _fields(frame: Frame) -> dict[str, Any]:
    """Return all fields except the image, for a format that stores them as text."""
    i = frame.id
    return {
        "id": [i.channel, i.unique_id, i.time_ns, i.epoch_ns],
        "scan": frame.scan,
        "position": frame.position_m,
        "attributes": dict(frame.attributes),
        "times": dict(frame.times_ns),
    }


def _arrow(frame: Frame) -> Codec:
    """Return the codec for an Arrow IPC stream of one record, with the other fields as JSON in its metadata."""
    import pyarrow as pa

    def write() -> bytes:
        values = pa.array(frame.image.ravel())
        metadata = {"fields": json.dumps(_fields(frame)), "shape": json.dumps(frame.image.shape)}
        batch = pa.record_batch([values], names=["image"]).replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return sink.getvalue().to_pybytes()

    def read(payload: bytes) -> object:
        with pa.ipc.open_stream(payload) as stream:
            batch = stream.read_next_batch()
            metadata = stream.schema.metadata
        image = batch.column(0).to_numpy().reshape(json.loads(metadata[b"shape"]))
        return image, json.loads(metadata[b"fields"])

    return "Arrow IPC", write, read


def _safetensors(frame: Frame) -> Codec:
    """Return the codec for safetensors, with the other fields as JSON in its metadata, which holds strings only."""
    from safetensors.numpy import save

    def write() -> bytes:
        return save({"image": frame.image}, metadata={"fields": json.dumps(_fields(frame))})

    def read(payload: bytes) -> object:
        # The library's `load` returns tensors without metadata, so the header is parsed here.
        length = int.from_bytes(payload[:8], "little")
        header = json.loads(payload[8 : 8 + length])
        tensor = header["image"]
        dtype = {"F32": "<f4", "I16": "<i2"}[tensor["dtype"]]
        first, last = tensor["data_offsets"]
        data = memoryview(payload)[8 + length + first : 8 + length + last]
        image = np.frombuffer(data, dtype).reshape(tensor["shape"])
        return image, json.loads(header["__metadata__"]["fields"])

    return "safetensors", write, read


def _median_us(call: Callable[[], object], rounds: int) -> float:
    durations_ns: list[int] = []
    for _ in range(rounds):
        started = time.perf_counter_ns()
        call()
        durations_ns.append(time.perf_counter_ns() - started)
    return float(np.median(durations_ns)) / 1e3


if __name__ == "__main__":
    main()
