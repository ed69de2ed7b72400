"""Each invalid manifest is reported in one line that names the fault."""

from __future__ import annotations

import copy
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from charon.engines.embedded.commands import vertex_command
from charon.engines.manifest import read_pipeline
from charon.errors import UsageError

WORKFLOWS = Path(__file__).parents[3] / "workflows" / "aps"
CONTAINER = {"container": {"image": "charon:latest", "args": ["source"]}}
PLAIN = {
    "apiVersion": "numaflow.numaproj.io/v1alpha1",
    "kind": "Pipeline",
    "metadata": {"name": "p"},
    "spec": {
        "vertices": [
            {"name": "in", "source": {"udsource": CONTAINER}},
            {"name": "cat", "udf": CONTAINER},
            {"name": "out", "sink": {"log": {}}},
        ],
        "edges": [{"from": "in", "to": "cat"}, {"from": "cat", "to": "out"}],
    },
}


@pytest.fixture
def read(tmp_path):
    """Return a function that modifies a minimal manifest and reads it."""

    def read(change=lambda document: None):
        document = copy.deepcopy(PLAIN)
        change(document)
        path = tmp_path / "pipeline.yaml"
        path.write_text(yaml.safe_dump(document))
        return read_pipeline(path)

    return read


@pytest.mark.parametrize(
    ("name", "vertices"),
    [
        ("numaflow-aps.yaml", {"in", "cat", "out"}),
        ("numaflow-aps-live.yaml", {"in", "cat", "out", "image"}),
    ],
)
def test_shipped_manifests_are_fully_supported(name, vertices):
    pipeline = read_pipeline(WORKFLOWS / name)
    order = [vertex.name for vertex in pipeline.spec.in_order()]
    assert set(order) == vertices
    assert order[:2] == ["in", "cat"]
    assert pipeline.spec.limits.read_batch_size == 8
    assert list(pipeline.unsupported_fields("")) == []
    for vertex in pipeline.spec.vertices:
        assert vertex_command(vertex)[1:3] == ["-m", "charon.cli.vertex"]


def vertex(document, k):
    return document["spec"]["vertices"][k]


INVALID = {
    "unknown field": (lambda d: vertex(d, 1).update(limit={}), r"spec.vertices\[cat\].limit: unknown field"),
    "mistyped limit": (
        lambda d: vertex(d, 1).update(limits={"readBatchSise": 2}),
        r"\[cat\].limits.readBatchSise: unknown field",
    ),
    "snake case": (
        lambda d: vertex(d, 1).update(limits={"read_batch_size": 2}),
        "read_batch_size: unknown field",
    ),
    "edge to unknown vertex": (lambda d: d["spec"]["edges"].append({"from": "cat", "to": "dog"}), "cat -> dog.*'dog'"),
    "edge from unknown vertex": (
        lambda d: d["spec"]["edges"].append({"from": "dog", "to": "cat"}),
        "dog -> cat.*'dog'",
    ),
    "duplicate edge": (lambda d: d["spec"]["edges"].append({"from": "cat", "to": "out"}), "duplicate edge cat -> out"),
    "duplicate name": (lambda d: d["spec"]["vertices"].append(vertex(d, 2)), "duplicate vertex name 'out'"),
    "map and sink in one vertex": (
        lambda d: vertex(d, 2).update(udf=CONTAINER),
        r"\[out\]: specify exactly one of source, udf and sink",
    ),
    "empty vertex": (lambda d: vertex(d, 2).pop("sink"), r"\[out\]: specify exactly one of source, udf and sink"),
    "two sinks in one vertex": (
        lambda d: vertex(d, 2)["sink"].update(blackhole={}),
        r"\[out\].sink: specify exactly one of udsink, log and blackhole",
    ),
    "sink without edge": (lambda d: d["spec"]["edges"].pop(), "vertex '(out|cat)'"),
    "edge into source": (lambda d: d["spec"]["edges"].append({"from": "cat", "to": "in"}), "vertex 'in'"),
    "capital in name": (lambda d: vertex(d, 0).update(name="In"), "name"),
    "other kind": (lambda d: d.update(kind="Deployment"), "contains Deployment"),
    "other version": (lambda d: d.update(apiVersion="v9"), "apiVersion"),
    "no vertices": (lambda d: d["spec"].update(vertices=[], edges=[]), "spec.vertices"),
    "empty batch": (lambda d: d["spec"].update(limits={"readBatchSize": 0}), "spec.limits.readBatchSize"),
    "invalid duration": (
        lambda d: d["spec"].update(limits={"readTimeout": "soon"}),
        "readTimeout: 'soon' is not a duration",
    ),
    "lossy buffer": (lambda d: d["spec"]["edges"][0].update(onFull="discardLatest"), "onFull"),
}


@pytest.mark.parametrize(("change", "message"), INVALID.values(), ids=INVALID.keys())
def test_invalid_manifest_is_one_line_with_path(read, change, message):
    with pytest.raises(UsageError, match=message) as error:
        read(change)
    assert "\n" not in str(error.value)
    assert "pipeline.yaml" in str(error.value)


def test_ambiguous_edge_name_is_rejected(read):
    def change(document):
        document["spec"]["vertices"] += [{"name": "in-cat", "udf": CONTAINER}, {"name": "cat-out", "sink": {"log": {}}}]
        document["spec"]["edges"] += [
            {"from": "in", "to": "in-cat"},
            {"from": "in-cat", "to": "out"},
            {"from": "in", "to": "cat-out"},
        ]

    with pytest.raises(UsageError, match=r"edge in-cat -> out: .* same name as that of in -> cat-out; rename one"):
        read(change)


def test_cycle_is_rejected(read):
    def change(document):
        document["spec"]["vertices"].insert(2, {"name": "dog", "udf": CONTAINER})
        document["spec"]["edges"] += [{"from": "cat", "to": "dog"}, {"from": "dog", "to": "cat"}]

    with pytest.raises(UsageError, match="contains a cycle: vertices cat, dog; remove an edge"):
        read(change)


@pytest.mark.parametrize("text", ["{", "a: [", "\tx: 1", "", "[1, 2]", "just words"])
def test_error_names_file_without_manifest(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"broken.yaml") as error:
        read_pipeline(path)
    assert "\n" not in str(error.value)


def test_error_names_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"none.yaml: No such file"):
        read_pipeline(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        read_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("20us", 2e-5)]
)
def test_durations_are_parsed_as_in_go(read, text, seconds):
    pipeline = read(lambda d: d["spec"].update(limits={"readTimeout": text}))
    assert pipeline.spec.limits.read_timeout == timedelta(seconds=seconds)


def test_unsupported_fields_are_listed(read):
    def change(document):
        vertex(document, 1).update(sidecars=[{}], scale={"min": 2, "max": 5})
        document["spec"]["watermark"] = {}
        document["spec"]["edges"][0]["conditions"] = {}

    unsupported_fields = set(read(change).unsupported_fields(""))
    assert {"spec.vertices[cat].sidecars", "spec.vertices[cat].scale.max", "spec.watermark"} <= unsupported_fields
    assert any(field.endswith("conditions") for field in unsupported_fields)
    assert "spec.vertices[cat].scale.min" not in unsupported_fields


def test_cluster_only_fields_are_not_listed(read):
    def change(document):
        document["metadata"]["namespace"] = "beamline"
        document["spec"]["templates"] = {"vertex": {"metadata": {"labels": {"role": "workload"}}}}
        document["spec"]["limits"] = {"readTimeout": "100ms"}
        container = {**CONTAINER["container"], "resources": {}, "securityContext": {}, "ports": [], "envFrom": []}
        container |= {"imagePullPolicy": "IfNotPresent", "volumeMounts": [], "livenessProbe": {}}
        container["env"] = [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s"}}}]
        vertex(document, 1).update(udf={"container": container}, volumes=[], runtimeClassName="nvidia")
        vertex(document, 1)["scale"] = {"min": 1, "max": 1}

    pipeline = read(change)
    assert list(pipeline.unsupported_fields("")) == []
    assert pipeline.namespace == "beamline"
    assert read().namespace == ""
    # A variable with valueFrom stays unset instead of empty.
    assert pipeline.spec.vertices[1].container.environment() == {"A": "1"}


def test_autoscaling_and_builtin_are_unsupported(read):
    def change(document):
        vertex(document, 1).update(udf={"builtin": {"name": "cat"}}, scale={"max": 4, "lookbackSeconds": 30})

    assert set(read(change).unsupported_fields("")) == {
        "spec.vertices[cat].udf.builtin",
        "spec.vertices[cat].scale.max",
        "spec.vertices[cat].scale.lookbackSeconds",
    }


def test_pipeline_is_found_among_other_objects(tmp_path):
    others = [{"kind": "Service"}, PLAIN, None, {"kind": "ConfigMap"}]
    path = tmp_path / "several.yaml"
    path.write_text(yaml.safe_dump_all(others))
    assert read_pipeline(path).name == "p"
    path.write_text(yaml.safe_dump_all([PLAIN, PLAIN]))
    with pytest.raises(UsageError, match="contains Pipeline, Pipeline; it must contain exactly one Pipeline"):
        read_pipeline(path)


def test_limits_of_vertex_override_pipeline(read):
    def change(document):
        document["spec"]["limits"] = {"readBatchSize": 8, "bufferMaxLength": 100}
        vertex(document, 1)["limits"] = {"readBatchSize": 2}

    pipeline = read(change)
    cat = pipeline.spec.vertices[1]
    assert pipeline.limits_of(cat).read_batch_size == 2
    assert pipeline.limits_of(cat).buffer_max_length == 100
    assert pipeline.edge_name(pipeline.spec.edges[0]) == "p-in-cat"
    assert cat.replicas == 1


def test_min_scale_zero_runs_one_replica(read):
    pipeline = read(lambda document: vertex(document, 1).update(scale={"min": 0}))
    assert pipeline.spec.vertices[1].replicas == 1


def test_unsupported_command_is_rejected(read):
    def change(document):
        vertex(document, 1)["udf"]["container"]["command"] = ["/bin/rm"]

    with pytest.raises(UsageError, match="'cat': unsupported command '/bin/rm'"):
        vertex_command(read(change).spec.vertices[1])


def test_container_without_args_is_rejected(read):
    def change(document):
        vertex(document, 1)["udf"]["container"].pop("args", None)

    with pytest.raises(UsageError, match="'cat': its container has no args; set them to a charon-vertex command"):
        vertex_command(read(change).spec.vertices[1])


def test_builtin_function_is_rejected(read):
    def change(document):
        vertex(document, 1)["udf"] = {"builtin": {"name": "cat"}}

    with pytest.raises(UsageError, match=r"'cat'.*built-in"):
        vertex_command(read(change).spec.vertices[1])


def test_charon_vertex_command_keeps_its_arguments(read):
    def change(document):
        vertex(document, 1)["udf"]["container"] = {"command": ["/usr/bin/charon-vertex", "inference"], "args": ["-x"]}

    assert vertex_command(read(change).spec.vertices[1])[3:] == ["inference", "-x"]
    assert vertex_command(read().spec.vertices[2])[3:] == ["log-sink"]


_BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text",
    [
        *(_BOMB + "kind: Pipeline", _BOMB + "kind: *a59", "&a\nkind: Pipeline\nspec: *a"),
        *("kind: Pipeline\na: 2025-13-45", "a: !!timestamp x", f"a: {'9' * 5000}", "kind: " + "[" * 5000),
        *('kind: "a\\nb"', "kind: Pipeline\n\ta: b", "kind: List\nitems: []", "kind: a\0b", "? {a: b}\n: c"),
    ],
)
def test_malformed_file_is_one_line_error(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"p\.yaml") as caught:
        read_pipeline(path)
    assert len(str(caught.value).splitlines()) == 1
