"""Every message has a result, and is acknowledged only after every outlet has confirmed it.

After a frame of the wrong shape, with values that are not finite, that cannot be decoded or that crashes the process,
good frames still get through.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vertex_fakes import FakeBackend, FakeDelivery, FakeInlet, FakeLedger, FakeOutlet

from charon.adapters.inference import Backend
from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, encode
from charon.vertices.inference import InferenceVertex, ModelInfo

MODEL = ModelInfo("net@3", (2, 2), 1e-8)


def frame(n, image=None, **more):
    return Frame(
        FrameId("ad:image", n, 1000 + n, 1001), np.full((2, 2), n, np.uint16) if image is None else image, **more
    )


def run(batches, *, backend=None, outlets=1, **options):
    """Run a vertex until it has processed the batches of deliveries."""
    backend = backend or FakeBackend()

    async def main():
        stop = asyncio.Event()
        inlet = FakeInlet(batches, stop)
        destinations = [FakeOutlet() for _ in range(outlets)]
        vertex = InferenceVertex(backend, MODEL, "run-1", **options)
        await asyncio.wait_for(vertex.work(inlet, destinations, stop), 20)
        assert inlet.closed
        return vertex, destinations

    return (*asyncio.run(main()), backend)


def test_patch_carries_the_frames_metadata():
    sent = frame(3, scan="s", position_m=(1e-6, 2e-6), attributes={"a": 1}, times_ns={"received": 5})
    delivery = FakeDelivery(encode(sent))
    _, (outlet,), _ = run([[delivery]])
    (patch,) = outlet.patches()
    assert (patch.id, patch.run, patch.model, patch.pixel_m) == (sent.id, "run-1", "net@3", 1e-8)
    assert (patch.scan, patch.position_m, dict(patch.attributes)) == ("s", (1e-6, 2e-6), {"a": 1})
    assert patch.phase.tolist() == [[3, 3], [3, 3]]
    assert set(patch.times_ns) == {"received", "inferred"}
    assert list(outlet.messages) == [sent.id.name]
    assert delivery.acks == 1
    assert delivery.result == outlet.messages[sent.id.name]


@settings(max_examples=20)
@given(sizes=st.lists(st.integers(1, 8), min_size=1, max_size=6))
def test_batches_keep_their_sizes(sizes):
    numbers = iter(range(1000))
    batches = [[FakeDelivery(encode(frame(next(numbers)))) for _ in range(size)] for size in sizes]
    _, (outlet,), backend = run(batches)
    assert backend.batches == sizes
    assert [m.id.unique_id for m in outlet.patches()] == list(range(sum(sizes)))
    assert all(m.phase[0, 0] == m.id.unique_id for m in outlet.patches())
    assert [d.acks for batch in batches for d in batch] == [1] * sum(sizes)


def test_ack_waits_for_every_outlet():
    async def main():
        stop = asyncio.Event()
        batches = [[FakeDelivery(encode(frame(2 * k + j))) for j in range(2)] for k in range(3)]
        inlet = FakeInlet(batches, asyncio.Event())
        outlets = [FakeOutlet(), FakeOutlet()]
        outlets[1].gate.clear()
        vertex = InferenceVertex(FakeBackend(), MODEL, "run-1")
        work = asyncio.create_task(vertex.work(inlet, outlets, stop))
        all_deliveries = [delivery for batch in batches for delivery in batch]
        # The first batch waits for its confirmation and the second one for the first: both are extended.
        while not all(delivery.extended for delivery in all_deliveries[:4]):  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.02)
        assert len(outlets[0].messages) == 2
        assert not any(delivery.acks for delivery in all_deliveries)
        outlets[1].gate.set()
        while not all(delivery.acks for delivery in all_deliveries):  # noqa: ASYNC110 - the fake has no event
            await asyncio.sleep(0.02)
        stop.set()
        await asyncio.wait_for(work, 20)
        assert [delivery.acks for delivery in all_deliveries] == [1] * 6
        assert [len(outlet.messages) for outlet in outlets] == [6, 6]

    asyncio.run(main())


BAD = {
    "wrong shape": (frame(2, np.zeros((3, 2), np.uint16)), "shape", "3x2"),
    "NaN": (frame(2, np.array([[1, np.nan], [1, 1]], np.float32)), "not-finite", "not finite"),
    "infinite": (frame(2, np.array([[1, np.inf], [1, 1]], np.float64)), "not-finite", "not finite"),
    "exceeds float32": (frame(2, np.array([[1, 1e300], [1, 1]])), "not-finite", "not finite"),
}


@pytest.mark.parametrize(("bad", "reason", "words"), BAD.values(), ids=BAD.keys())
def test_bad_frame_is_rejected_alone(bad, reason, words):
    deliveries = [
        FakeDelivery(encode(frame(1))),
        FakeDelivery(encode(bad)),
        FakeDelivery(encode(frame(3))),
    ]
    vertex, (outlet,), backend = run([deliveries])
    results = outlet.decoded()
    (rejection,) = (m for m in results if isinstance(m, Rejection))
    assert (rejection.id, rejection.reason, rejection.vertex) == (bad.id, reason, "inference")
    assert words in rejection.detail
    assert bad.id.name in rejection.detail
    assert bad.id.name in outlet.messages
    assert sorted(m.id.unique_id for m in results if isinstance(m, Patch)) == [1, 3]
    assert len(results) == 3
    assert backend.batches == [2]
    assert [d.acks for d in deliveries] == [1, 1, 1]
    assert vertex.page().process.counts[f"rejected:{reason}"] == 1


class Killed(BaseException):
    """Simulates the end of the process."""


class CrashingBackend(Backend):
    """A network that crashes on one frame."""

    @property
    def name(self):
        """Return a name and a version."""
        return "crashing 1"

    def infer(self, counts):
        """Return the counts as the phase; raise for the crashing frame."""
        if (counts == 3).any():
            raise Killed
        return {"phase": counts}


def test_crashing_frame_is_rejected_at_third_crash():
    ledger = FakeLedger()
    remaining = dict.fromkeys(range(1, 9), 0)

    async def run_process():
        """Deliver the remaining messages to a new process."""
        stop = asyncio.Event()
        for n in remaining:
            remaining[n] += 1
        deliveries = {n: FakeDelivery(encode(frame(n)), attempt) for n, attempt in remaining.items()}
        outlet = FakeOutlet()
        vertex = InferenceVertex(CrashingBackend(), MODEL, "run-1")
        await vertex.restore(ledger)
        try:
            await asyncio.wait_for(vertex.work(FakeInlet([list(deliveries.values())], stop), [outlet], stop), 20)
        finally:
            for n, delivery in deliveries.items():
                if delivery.acks:
                    del remaining[n]
            results.extend(outlet.decoded())

    results = []
    for _ in range(3):
        with pytest.raises(Killed):
            asyncio.run(run_process())
    asyncio.run(run_process())
    assert not remaining
    assert [m.id.unique_id for m in results if isinstance(m, Rejection)] == [3]
    assert "3 times" in next(m.detail for m in results if isinstance(m, Rejection))
    assert sorted(m.id.unique_id for m in results if isinstance(m, Patch)) == [1, 2, 4, 5, 6, 7, 8]


def test_unavailable_ledger_does_not_stop_inference():
    ledger = FakeLedger()
    ledger.failing_saves = 10

    async def main():
        stop = asyncio.Event()
        outlet = FakeOutlet()
        vertex = InferenceVertex(FakeBackend(), MODEL, "run-1")
        await vertex.restore(ledger)
        await vertex.work(FakeInlet([[FakeDelivery(encode(frame(2)), 9)]], stop), [outlet], stop)
        assert isinstance(outlet.decoded()[0], Patch)

    asyncio.run(main())


def test_redelivered_frame_runs_alone():
    attempts = [1, 2, 1, 3]
    deliveries = [FakeDelivery(encode(frame(n)), attempt) for n, attempt in enumerate(attempts)]
    _, (outlet,), backend = run([deliveries])
    assert backend.batches == [2, 1, 1]
    assert {m.id.unique_id: m.phase[0, 0] for m in outlet.patches()} == {0: 0, 1: 1, 2: 2, 3: 3}


def test_undecodable_message_is_skipped_and_counted():
    deliveries = [FakeDelivery(b"\xa1no"), FakeDelivery(encode(frame(1)))]
    vertex, (outlet,), _ = run([deliveries])
    assert [m.id.unique_id for m in outlet.patches()] == [1]
    assert [d.acks for d in deliveries] == [1, 1]
    assert deliveries[0].result is None
    assert vertex.stats.counts["undecodable"] == 1


def test_other_messages_are_forwarded_unchanged():
    messages = [
        Rejection(FrameId("ad:image", 1, 1001), "shape", "too small", "source"),
        LatePosition("ad:image", 1001, (1e-6, 0.0)),
    ]
    deliveries = [FakeDelivery(encode(m)) for m in messages]
    _, outlets, backend = run([deliveries], outlets=2)
    for outlet in outlets:
        assert outlet.messages == {messages[0].id.name: encode(messages[0]), messages[1].name: encode(messages[1])}
    assert backend.batches == []
    assert [d.acks for d in deliveries] == [1, 1]


def test_failing_backend_ends_vertex_without_ack():
    deliveries = [FakeDelivery(encode(frame(n))) for n in range(3)]
    with pytest.raises(RuntimeError, match="out of memory"):
        run([deliveries], backend=FakeBackend(RuntimeError("out of memory")))
    assert [d.acks for d in deliveries] == [0, 0, 0]


def test_failing_outlet_ends_idle_vertex():
    async def main():
        outlet = FakeOutlet()
        outlet.fault = ValueError("never")
        delivery = FakeDelivery(encode(frame(1)))
        inlet = FakeInlet([[delivery], *([[]] * 20)], asyncio.Event())
        vertex = InferenceVertex(FakeBackend(), MODEL, "run-1")
        try:
            await asyncio.wait_for(vertex.work(inlet, [outlet], asyncio.Event()), 20)
        finally:
            assert delivery.acks == 0

    with pytest.raises(ValueError, match="never"):
        asyncio.run(main())


def test_warm_up_runs_every_batch_size():
    backend = FakeBackend()
    InferenceVertex(backend, MODEL, "run-1", max_batch=5).warm_up()
    assert backend.batches == [1, 2, 3, 4, 5]
