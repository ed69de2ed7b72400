"""A manifest is read strictly: what is wrong with it is one line that names the thing."""

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
    """Return a function that changes the plain manifest and reads it."""

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
def test_the_pipelines_that_are_shipped_are_read_whole(name, vertices):
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


WRONG = {
    "an unknown field": (lambda d: vertex(d, 1).update(limit={}), r"spec.vertices\[cat\].limit: unknown field"),
    "a mistyped limit": (
        lambda d: vertex(d, 1).update(limits={"readBatchSise": 2}),
        r"\[cat\].limits.readBatchSise: unknown field",
    ),
    "a field in python's spelling": (
        lambda d: vertex(d, 1).update(limits={"read_batch_size": 2}),
        "read_batch_size: unknown field",
    ),
    "an edge to nowhere": (lambda d: d["spec"]["edges"].append({"from": "cat", "to": "dog"}), "cat -> dog.*'dog'"),
    "an edge from nowhere": (lambda d: d["spec"]["edges"].append({"from": "dog", "to": "cat"}), "dog -> cat.*'dog'"),
    "two of a name": (lambda d: d["spec"]["vertices"].append(vertex(d, 2)), "two vertices are called 'out'"),
    "a source and a sink in one": (lambda d: vertex(d, 2).update(udf=CONTAINER), "'out' is one of"),
    "nothing in one": (lambda d: vertex(d, 2).pop("sink"), "'out' is one of"),
    "two sinks in one": (lambda d: vertex(d, 2)["sink"].update(blackhole={}), "one of udsink, log and blackhole"),
    "a sink without an edge": (lambda d: d["spec"]["edges"].pop(), "vertex '(out|cat)'"),
    "an edge into the source": (lambda d: d["spec"]["edges"].append({"from": "cat", "to": "in"}), "vertex 'in'"),
    "a name in capitals": (lambda d: vertex(d, 0).update(name="In"), "name"),
    "another kind": (lambda d: d.update(kind="Deployment"), "holds Deployment"),
    "another version": (lambda d: d.update(apiVersion="v9"), "apiVersion"),
    "no vertices": (lambda d: d["spec"].update(vertices=[], edges=[]), "spec.vertices"),
    "a batch of none": (lambda d: d["spec"].update(limits={"readBatchSize": 0}), "spec.limits.readBatchSize"),
    "no duration": (lambda d: d["spec"].update(limits={"readTimeout": "soon"}), "'soon' is no duration"),
    "a buffer that drops": (lambda d: d["spec"]["edges"][0].update(onFull="discardLatest"), "onFull"),
}


@pytest.mark.parametrize(("change", "words"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_is_one_line_that_names_it(read, change, words):
    with pytest.raises(UsageError, match=words) as error:
        read(change)
    assert "\n" not in str(error.value)
    assert "pipeline.yaml" in str(error.value)


def test_edges_that_go_round_are_refused(read):
    def change(document):
        document["spec"]["vertices"].insert(2, {"name": "dog", "udf": CONTAINER})
        document["spec"]["edges"] += [{"from": "cat", "to": "dog"}, {"from": "dog", "to": "cat"}]

    with pytest.raises(UsageError, match=r"cat, dog.* circle"):
        read(change)


@pytest.mark.parametrize("text", ["{", "a: [", "\tx: 1", "", "[1, 2]", "just words"])
def test_what_is_no_manifest_is_refused_by_its_path(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"broken.yaml") as error:
        read_pipeline(path)
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none.yaml: No such file"):
        read_pipeline(tmp_path / "none.yaml")
    with pytest.raises(UsageError, match="Is a directory"):
        read_pipeline(tmp_path)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("20us", 2e-5)]
)
def test_durations_are_go_s(read, text, seconds):
    pipeline = read(lambda d: d["spec"].update(limits={"readTimeout": text}))
    assert pipeline.spec.limits.read_timeout == timedelta(seconds=seconds)


def test_fields_that_are_known_and_not_honoured_are_named(read):
    def change(document):
        vertex(document, 1).update(sidecars=[{}], scale={"min": 2, "max": 5})
        document["spec"]["watermark"] = {}
        document["spec"]["edges"][0]["conditions"] = {}

    unsupported_fields = set(read(change).unsupported_fields(""))
    assert {"spec.vertices[cat].sidecars", "spec.vertices[cat].scale.max", "spec.watermark"} <= unsupported_fields
    assert any(field.endswith("conditions") for field in unsupported_fields)
    assert "spec.vertices[cat].scale.min" not in unsupported_fields


def test_what_only_a_cluster_acts_on_is_taken_in_silence(read):
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
    assert read().namespace == "", "then it is kubectl's to say"
    # A variable from a secret is not set here at all: an empty one would be a value.
    assert pipeline.spec.vertices[1].container.environment() == {"A": "1"}


def test_scaling_that_is_asked_for_and_a_function_that_is_not_here_are_named(read):
    def change(document):
        vertex(document, 1).update(udf={"builtin": {"name": "cat"}}, scale={"max": 4, "lookbackSeconds": 30})

    assert set(read(change).unsupported_fields("")) == {
        "spec.vertices[cat].udf.builtin",
        "spec.vertices[cat].scale.max",
        "spec.vertices[cat].scale.lookbackSeconds",
    }


def test_a_pipeline_is_found_among_other_objects(tmp_path):
    others = [{"kind": "Service"}, PLAIN, None, {"kind": "ConfigMap"}]
    path = tmp_path / "several.yaml"
    path.write_text(yaml.safe_dump_all(others))
    assert read_pipeline(path).name == "p"
    path.write_text(yaml.safe_dump_all([PLAIN, PLAIN]))
    with pytest.raises(UsageError, match="holds Pipeline, Pipeline; one Pipeline is needed"):
        read_pipeline(path)


def test_a_vertex_s_own_limits_go_before_the_pipeline_s(read):
    def change(document):
        document["spec"]["limits"] = {"readBatchSize": 8, "bufferMaxLength": 100}
        vertex(document, 1)["limits"] = {"readBatchSize": 2}

    pipeline = read(change)
    cat = pipeline.spec.vertices[1]
    assert pipeline.limits_of(cat).read_batch_size == 2
    assert pipeline.limits_of(cat).buffer_max_length == 100
    assert pipeline.edge_name(pipeline.spec.edges[0]) == "p-in-cat"
    assert cat.replicas == 1


def test_a_vertex_that_may_scale_to_none_runs_once_here(read):
    pipeline = read(lambda document: vertex(document, 1).update(scale={"min": 0}))
    assert pipeline.spec.vertices[1].replicas == 1


def test_a_program_of_others_is_not_run_here(read):
    def change(document):
        vertex(document, 1)["udf"]["container"]["command"] = ["/bin/rm"]

    with pytest.raises(UsageError, match="'cat' runs '/bin/rm'"):
        vertex_command(read(change).spec.vertices[1])


def test_a_function_that_a_cluster_brings_along_is_not_run_here(read):
    def change(document):
        vertex(document, 1)["udf"] = {"builtin": {"name": "cat"}}

    with pytest.raises(UsageError, match=r"'cat'.*builtin"):
        vertex_command(read(change).spec.vertices[1])


def test_a_command_of_ours_is_run_with_its_arguments(read):
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
def test_whatever_the_file_holds_is_one_line(tmp_path, text):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"p\.yaml") as caught:
        read_pipeline(path)
    assert len(str(caught.value).splitlines()) == 1
