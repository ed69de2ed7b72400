"""Manifest of the pipeline that a comparison measures.

The engine publishes its end product as cheaply as the baseline does. Without stitching, the baseline publishes each
patch on a channel without a client, and the pipeline counts each patch in a sink that logs nothing. With stitching,
both stitch every patch and store the image; the pipeline's image has no viewer channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from charon.comparison.model import Condition

PIPELINE = "compare"
"""Name of the pipeline."""

CHANNEL = "ad:image"
"""Channel of the detector."""


def write_manifest(condition: Condition, path: Path) -> None:
    """Write the manifest of a condition."""
    path.write_text(yaml.safe_dump(_document(condition), sort_keys=False))


def _document(condition: Condition) -> dict[str, Any]:
    setting, model = condition.setting, condition.model
    inference = ["inference", "--model", model, "--threads", str(setting.threads)]
    if condition.stitch:
        sink = _sink("image", ["image-sink", "--model", model])
    else:
        sink = _sink("out", ["log-sink", "--quiet"])
    return {
        "apiVersion": "numaflow.numaproj.io/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": PIPELINE},
        "spec": {
            "vertices": [
                {"name": "in", "source": {"udsource": _container(["source", "--channel", CHANNEL, "--model", model])}},
                {
                    "name": "cat",
                    "udf": _container(inference),
                    "limits": {"readBatchSize": setting.batch},
                    "scale": {"min": condition.replicas, "max": condition.replicas},
                },
                sink,
            ],
            "edges": [{"from": "in", "to": "cat"}, {"from": "cat", "to": sink["name"]}],
        },
    }


def _sink(name: str, arguments: list[str]) -> dict[str, Any]:
    return {"name": name, "sink": {"udsink": _container(arguments)}}


def _container(arguments: list[str]) -> dict[str, Any]:
    return {"container": {"image": "charon:latest", "args": arguments}}
