"""Manifests of a comparison: the shipped pipeline with the values of a condition."""

from __future__ import annotations

import pytest
import yaml

from charon.comparison.engines import manifest
from charon.comparison.engines.manifest import write_manifest
from charon.comparison.model import Condition, EngineSetting
from charon.engines.manifest import read_pipeline
from charon.errors import UnavailableError


def condition(**changes):
    values = {
        "part": "load",
        "engine": "embedded",
        "rate_hz": 100.0,
        "shape": (64, 64),
        "model": "folder/model",
        "duration_s": 5.0,
        "warm_up_s": 1.0,
        "replicas": 3,
        "setting": EngineSetting(batch=5, threads=2),
    }
    return Condition(**{**values, **changes})


def written(tmp_path, **changes):
    path = tmp_path / "pipeline.yaml"
    write_manifest(condition(**changes), path)
    pipeline = read_pipeline(path)
    return pipeline, {vertex.name: vertex for vertex in pipeline.spec.vertices}


def arguments_of(vertex):
    """Return the arguments of a vertex's program."""
    return vertex.container.args


def test_inference_has_the_values_of_the_condition(tmp_path):
    pipeline, vertices = written(tmp_path)
    assert pipeline.name == "compare"
    assert arguments_of(vertices["cat"]) == ["inference", "--model", "folder/model", "--threads", "2"]
    assert vertices["cat"].replicas == 3
    assert pipeline.limits_of(vertices["cat"]).read_batch_size == 5
    assert list(pipeline.unsupported_fields("")) == []


def test_limits_are_those_of_the_shipped_pipeline(tmp_path):
    pipeline, vertices = written(tmp_path)
    limits = pipeline.limits_of(vertices["cat"])
    assert (limits.buffer_max_length, limits.buffer_usage_limit) == (30_000, 80)
    assert pipeline.limits_of(vertices["in"]).read_batch_size == 8


@pytest.mark.parametrize(
    ("stitch", "name", "arguments"),
    [(False, "out", ["log-sink", "--quiet"]), (True, "image", ["image-sink", "--model", "folder/model"])],
)
def test_pipeline_has_one_sink(tmp_path, stitch, name, arguments):
    pipeline, vertices = written(tmp_path, stitch=stitch)
    assert set(vertices) == {"in", "cat", name}
    assert arguments_of(vertices[name]) == arguments
    assert [(edge.from_, edge.to) for edge in pipeline.spec.edges] == [("in", "cat"), ("cat", name)]


def test_missing_shipped_manifest_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "shipped", lambda _name: None)
    with pytest.raises(UnavailableError, match=r"workflows/aps/numaflow-aps\.yaml: not in this installation"):
        write_manifest(condition(), tmp_path / "pipeline.yaml")


def test_file_contains_only_the_pipeline(tmp_path):
    path = tmp_path / "pipeline.yaml"
    write_manifest(condition(), path)
    assert [document["kind"] for document in yaml.safe_load_all(path.read_text())] == ["Pipeline"]
