"""Frames pass through the vertices as Numaflow runs them, and both engines reconstruct the same image."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest
from numaflow_client import MapClient, Pipeline, SinkClient, SourceClient

from charon.adapters.storage.nexus_reader import read_image
from charon.ledger.accounting import compute_account
from charon.ledger.pages import page_from_json
from embedded_run import reconstruct_embedded

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
ROOT = Path(__file__).parents[3]
MANIFEST = ROOT / "workflows/aps/numaflow-aps-live.yaml"
FRAMES = 120
SCAN = ("--shape", "12x10", "--frame-rate", "100", "--report-period", "0", "--prepare-all", "--seed", "3")


def _page(pod, vertex, replica=0):
    """Return the page of a vertex from the file in its pod."""
    return page_from_json(json.loads((pod.sockets / f"charon-page-{vertex}.{replica}.json").read_text()))


def test_image_equals_that_of_embedded_engine(pods, detector, tmp_path):
    reference = tmp_path / "embedded"
    reference.mkdir()
    expected = reconstruct_embedded(reference, MANIFEST, FRAMES, *SCAN)
    output = tmp_path / "numaflow"
    source = pods("in", "source")
    inference = pods("cat", "inference", "--threads", "1")
    image = pods("image", "image-sink", "--model", "ptychonn2-sim", "--output", output)
    log = pods("out", "log-sink", "--quiet")

    async def run():
        async with (
            SourceClient(source.sockets) as reader,
            MapClient(inference.sockets) as mapper,
            SinkClient(image.sockets) as image_sink,
            SinkClient(log.sockets) as log_sink,
            Pipeline([reader], [mapper], [image_sink, log_sink]) as pipeline,
        ):
            assert reader.info is not None
            assert mapper.info is not None
            assert reader.info["protocol"] == "uds"
            assert reader.info["minimum_numaflow_version"].startswith("1.4.")
            assert mapper.info["metadata"]["MAP_MODE"] == "batch-map"
            report = detector("--wait-for-client", *SCAN)
            await pipeline.until(lambda: pipeline.stored == 2 * FRAMES)
            assert await reader.pending() == 0
            assert await reader.partitions() == [0]
            assert (pipeline.dropped, pipeline.frames.repeats) == (0, 0)
            for pod in (source, inference, image, log):
                pod.terminate()
            for pod in (source, inference, image, log):
                assert await asyncio.to_thread(pod.wait) == 0, pod.log()
            return report

    report = json.loads(asyncio.run(run()).read_text())
    assert report["published"] == FRAMES
    pods = {"in": source, "cat": inference, "image": image, "out": log}
    pages = {f"{vertex}.0": _page(pod, vertex) for vertex, pod in pods.items()}
    assert [page.process.state for page in pages.values()] == ["finished"] * 4
    account = compute_account(pages, ended=True)
    assert (account.published, account.missed, account.accepted, account.lost) == (FRAMES, 0, FRAMES, 0)
    assert (account.reconstructed, account.duplicates) == (FRAMES, 0)
    stitched = read_image(output / "scan-1.h5")
    assert stitched is not None
    assert expected is not None
    assert stitched.phase.shape == expected.phase.shape
    assert stitched.origin_m == pytest.approx(expected.origin_m)
    np.testing.assert_allclose(stitched.weight, expected.weight, rtol=1e-4, atol=1e-5)
    inside = expected.weight > 1e-3 * expected.weight.max()
    np.testing.assert_allclose(stitched.transmission[inside], expected.transmission[inside], atol=1e-4)


def test_two_sources_count_each_frame_once(pods, detector, tmp_path):
    sources = [pods("in", "source", replica=n) for n in range(2)]
    inference = pods("cat", "inference", "--threads", "1")
    image = pods("image", "image-sink", "--model", "ptychonn2-sim", "--output", tmp_path / "out")

    async def run():
        async with (
            SourceClient(sources[0].sockets) as first,
            SourceClient(sources[1].sockets) as second,
            MapClient(inference.sockets) as mapper,
            SinkClient(image.sockets) as sink,
            Pipeline([first, second], [mapper], [sink]) as pipeline,
        ):
            bad = ("--bad", "shape@11", "--bad", "truncated@23,24")
            report = detector("--frame-rate", "60", "--clients", "2", "--shape", "10x6", *SCAN[4:], *bad)
            await pipeline.until(lambda: pipeline.stored == pipeline.frames.repeats == 60)
            for pod in (*sources, inference, image):
                pod.terminate()
                assert await asyncio.to_thread(pod.wait) == 0, pod.log()
            return report

    report = json.loads(asyncio.run(run()).read_text())
    pages = {
        "in.0": _page(sources[0], "in"),
        "in.1": _page(sources[1], "in", 1),
        "cat.0": _page(inference, "cat"),
        "image.0": _page(image, "image"),
    }
    account = compute_account(pages, ended=True)
    assert report["published"] == account.published == account.accepted == 60
    assert (account.reconstructed, account.missed, account.lost, account.duplicates) == (57, 0, 0, 0)
    assert dict(account.rejected) == {"shape": 1, "truncated": 2}


def test_lost_inference_replicas_lose_no_frame(pods, detector, tmp_path):
    source = pods("in", "source")
    inference = [pods("cat", "inference", "--threads", "1", "--slow-ms", "40", replica=n) for n in range(3)]
    image = pods("image", "image-sink", "--model", "ptychonn2-sim", "--output", tmp_path / "out")

    async def run():
        async with (
            SourceClient(source.sockets) as reader,
            MapClient(inference[0].sockets) as first,
            MapClient(inference[1].sockets) as second,
            MapClient(inference[2].sockets) as third,
            SinkClient(image.sockets) as sink,
            Pipeline([reader], [first, second, third], [sink]) as pipeline,
        ):
            detector("--wait-for-client", *SCAN)
            await pipeline.until(lambda: pipeline.stored >= 20)
            inference[1].terminate()
            await pipeline.until(lambda: pipeline.stored >= 50)
            inference[2].kill()
            await pipeline.until(lambda: pipeline.stored >= FRAMES)
            assert pipeline.lost_replicas >= 1
            assert pipeline.patches[0].sequence == FRAMES
            image.terminate()
            assert await asyncio.to_thread(image.wait) == 0, image.log()

    asyncio.run(run())
    account = compute_account({"in.0": _page(source, "in"), "image.0": _page(image, "image")}, ended=True)
    assert (account.published, account.reconstructed, account.lost, account.duplicates) == (FRAMES, FRAMES, 0, 0)
