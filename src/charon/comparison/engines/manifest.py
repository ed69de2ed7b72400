"""Manifest of the pipeline that a comparison measures: a shipped one, with the values of a condition.

Both engines publish their end product at a similar cost. Without stitching, the baseline publishes each patch on a
channel without a client, and the pipeline counts each patch in a sink that logs nothing. With stitching, both stitch
every patch and write the same files; the pipeline's image is not published on a channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from charon.errors import UnavailableError
from charon.resources import shipped

if TYPE_CHECKING:
    from pathlib import Path

    from charon.comparison.model import Condition

PIPELINE = "compare"
"""Name of the pipeline."""

CHANNEL = "ad:image"
"""Channel of the detector."""

WORKER = "cat"
"""Name of the inference vertex."""

_MANIFEST = "workflows/aps/numaflow-aps.yaml"
_STITCHING_MANIFEST = "workflows/aps/numaflow-aps-live.yaml"


def write_manifest(condition: Condition, path: Path) -> None:
    """Write the manifest of a condition.

    Raises
    ------
    UnavailableError
        If the shipped manifest is missing.
    """
    path.write_text(yaml.safe_dump(_pipeline(condition), sort_keys=False))


def _pipeline(condition: Condition) -> dict[str, Any]:
    setting, model = condition.setting, condition.model
    arguments = {
        "in": ["source", "--channel", CHANNEL, "--model", model],
        WORKER: ["inference", "--model", model, "--threads", str(setting.threads)],
        "image": ["image-sink", "--model", model],
        "out": ["log-sink", "--quiet"],
    }
    pipeline = _shipped(_STITCHING_MANIFEST if condition.stitch else _MANIFEST)
    pipeline["metadata"] = {"name": PIPELINE}
    spec = pipeline["spec"]
    if condition.stitch:
        spec["vertices"] = [vertex for vertex in spec["vertices"] if vertex["name"] != "out"]
        spec["edges"] = [edge for edge in spec["edges"] if edge["to"] != "out"]
    for vertex in spec["vertices"]:
        _container(vertex)["args"] = arguments[vertex["name"]]
        if vertex["name"] == WORKER:
            vertex["limits"] = {**vertex.get("limits", {}), "readBatchSize": setting.batch}
            vertex["scale"] = {"min": condition.replicas, "max": condition.replicas}
    return pipeline


def _shipped(name: str) -> dict[str, Any]:
    """Return the pipeline in a shipped manifest, which contains other objects too."""
    path = shipped(name)
    if path is None:
        raise UnavailableError(f"{name}: not in this installation of Charon; install it again")
    return next(document for document in yaml.safe_load_all(path.read_text()) if document["kind"] == "Pipeline")


def _container(vertex: dict[str, Any]) -> dict[str, Any]:
    if "udf" in vertex:
        return vertex["udf"]["container"]
    return vertex["source"]["udsource"]["container"] if "source" in vertex else vertex["sink"]["udsink"]["container"]
