"""The Pipeline manifest: Numaflow's own form, read strictly.

One manifest drives the embedded engine and a cluster. Fields that say how a cluster is to run it are left to the
cluster; others that Numaflow v1.4 knows and the embedded engine does not honour are named in a warning; fields that
nobody knows are an error, because a mistyped limit that is passed over is worse than one that is refused.

References
----------
https://numaflow.numaproj.io/APIs/
"""

from __future__ import annotations

import re
from collections.abc import Iterator  # noqa: TC003 - pydantic reads the annotations of this module
from datetime import timedelta
from pathlib import Path  # noqa: TC003 - likewise
from typing import Annotated, Any, ClassVar, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from charon.frames import UsageError

_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|s|m|h)")
_UNIT_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class _Part(BaseModel):
    """A part of the manifest.

    `honoured` names the fields that the embedded engine acts on, `cluster_only` those that say how a cluster is to
    run what the embedded engine runs in any case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)
    honoured: ClassVar[frozenset[str]] = frozenset()
    cluster_only: ClassVar[frozenset[str]] = frozenset()

    def passed_over(self, path: str) -> Iterator[str]:
        """Yield the path of every field that is set, not honoured, and not a cluster's own affair."""
        for name, info in type(self).model_fields.items():
            if name not in self.model_fields_set or name in self.cluster_only:
                continue
            here = f"{path}.{info.alias}" if path else str(info.alias)
            value = getattr(self, name)
            parts = value if isinstance(value, list) else [value]
            if name not in self.honoured:
                yield here
                continue
            for part in parts:
                if isinstance(part, _Part):
                    label = getattr(part, "name", None) if isinstance(value, list) else None
                    yield from part.passed_over(f"{here}[{label}]" if label else here)


class EnvVar(_Part):
    """An environment variable of a container; what comes from a cluster's objects is not set here."""

    honoured = frozenset({"name", "value"})
    cluster_only = frozenset({"value_from"})
    name: str
    value: str = ""
    value_from: Any = None


class Container(_Part):
    """What runs in a vertex; the embedded engine runs its command's arguments with the program installed here."""

    honoured = frozenset({"command", "args", "env"})
    cluster_only = frozenset(
        {"image", "env_from", "volume_mounts", "resources", "security_context", "image_pull_policy"}
        | {"readiness_probe", "liveness_probe", "ports"}
    )
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: list[EnvVar] = []
    env_from: Any = None
    volume_mounts: Any = None
    resources: Any = None
    security_context: Any = None
    image_pull_policy: Any = None
    readiness_probe: Any = None
    liveness_probe: Any = None
    ports: Any = None

    def environment(self) -> dict[str, str]:
        """Return the variables that have a value in the manifest itself."""
        return {variable.name: variable.value for variable in self.env if variable.value_from is None}


class UserDefined(_Part):
    """A user-defined source or sink."""

    honoured = frozenset({"container"})
    container: Container


class Source(_Part):
    """A source vertex."""

    honoured = frozenset({"udsource"})
    udsource: UserDefined
    transformer: Any = None


class Builtin(_Part):
    """A function that Numaflow brings along; the embedded engine has none, and refuses it when it starts."""

    name: Literal["cat"]
    args: list[str] = []
    kwargs: dict[str, str] = {}


class Udf(_Part):
    """A map vertex."""

    honoured = frozenset({"container"})
    container: Container | None = None
    builtin: Builtin | None = None
    group_by: Any = None

    @model_validator(mode="after")
    def _one_of(self) -> Udf:
        if (self.container is None) == (self.builtin is None):
            raise ValueError("a udf has either a container or a builtin")
        return self


class Sink(_Part):
    """A sink vertex."""

    honoured = frozenset({"udsink", "log", "blackhole"})
    udsink: UserDefined | None = None
    log: dict[str, Any] | None = None
    blackhole: dict[str, Any] | None = None
    fallback: Any = None
    retry_strategy: Any = None

    @model_validator(mode="after")
    def _one_of(self) -> Sink:
        if sum(part is not None for part in (self.udsink, self.log, self.blackhole)) != 1:
            raise ValueError("a sink is one of udsink, log and blackhole")
        return self


class Limits(_Part):
    """How much is read at once and how much a buffer holds; the embedded engine's readers do not wait for more."""

    honoured = frozenset({"read_batch_size", "buffer_max_length", "buffer_usage_limit"})
    cluster_only = frozenset({"read_timeout"})
    read_batch_size: Annotated[int, Field(ge=1)] | None = None
    buffer_max_length: Annotated[int, Field(ge=1)] | None = None
    buffer_usage_limit: Annotated[int, Field(ge=1, le=100)] | None = None
    read_timeout: timedelta | None = None
    rate_limit: Any = None
    concurrency: int | None = None

    @field_validator("read_timeout", mode="before")
    @classmethod
    def _duration(cls, value: object) -> object:
        """Read a Go duration such as ``1s`` or ``1m30s``."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(rf"({_DURATION.pattern})+", value):
            raise ValueError(f"{value!r} is no duration such as 500ms or 1s")
        return timedelta(seconds=sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(value)))


class Scale(_Part):
    """How many replicas; the embedded engine runs the least number and does not scale by itself."""

    honoured = frozenset({"min", "disabled"})

    def passed_over(self, path: str) -> Iterator[str]:
        """Yield what is not honoured; a most that is the least asks for no scaling."""
        fixed = self.max is not None and self.max == (self.min if self.min is not None else 1)
        yield from (field for field in super().passed_over(path) if not (fixed and field.endswith(".max")))

    disabled: bool = False
    min: Annotated[int, Field(ge=0)] | None = None
    max: Annotated[int, Field(ge=1)] | None = None
    lookback_seconds: int | None = None
    zero_replica_sleep_seconds: int | None = None
    target_processing_seconds: int | None = None
    target_buffer_availability: int | None = None
    replicas_per_scale: int | None = None
    scale_up_cooldown_seconds: int | None = None
    scale_down_cooldown_seconds: int | None = None
    replicas_per_scale_up: int | None = None
    replicas_per_scale_down: int | None = None


class Vertex(_Part):
    """One computing step."""

    honoured = frozenset({"name", "source", "udf", "sink", "scale", "limits"})
    cluster_only = frozenset(
        {"metadata", "volumes", "container_template", "init_container_template", "update_strategy", "node_selector"}
        | {"tolerations", "security_context", "image_pull_secrets", "priority_class_name", "priority", "affinity"}
        | {"service_account_name", "runtime_class_name", "automount_service_account_token", "dns_policy"}
        | {"dns_config", "resource_claims"}
    )
    name: str = Field(pattern=_NAME)
    source: Source | None = None
    udf: Udf | None = None
    sink: Sink | None = None
    scale: Scale = Scale()
    limits: Limits = Limits()
    partitions: Any = None
    metadata: Any = None
    volumes: Any = None
    container_template: Any = None
    init_container_template: Any = None
    init_containers: Any = None
    sidecars: Any = None
    side_inputs: Any = None
    side_inputs_container_template: Any = None
    update_strategy: Any = None
    node_selector: Any = None
    tolerations: Any = None
    security_context: Any = None
    image_pull_secrets: Any = None
    priority_class_name: Any = None
    priority: Any = None
    affinity: Any = None
    service_account_name: Any = None
    runtime_class_name: Any = None
    automount_service_account_token: Any = None
    dns_policy: Any = None
    dns_config: Any = None
    resource_claims: Any = None

    @model_validator(mode="after")
    def _one_of(self) -> Vertex:
        if sum(part is not None for part in (self.source, self.udf, self.sink)) != 1:
            raise ValueError(f"vertex {self.name!r} is one of source, udf and sink")
        return self

    @property
    def container(self) -> Container | None:
        """The vertex's own container; None for what Numaflow brings along."""
        if self.source is not None:
            return self.source.udsource.container
        if self.udf is not None:
            return self.udf.container
        return self.sink.udsink.container if self.sink and self.sink.udsink else None

    @property
    def replicas(self) -> int:
        """How many replicas the embedded engine runs: one at least, because it starts none when frames come."""
        return max(1, self.scale.min or 1)


class Edge(_Part):
    """A buffer between two vertices; a full one makes its writer wait."""

    honoured = frozenset({"from_", "to", "on_full"})
    from_: str = Field(alias="from")
    to: str
    conditions: Any = None
    on_full: Literal["retryUntilSuccess"] = "retryUntilSuccess"


class Spec(_Part):
    """Vertices and edges."""

    honoured = frozenset({"vertices", "edges", "limits"})
    cluster_only = frozenset({"inter_step_buffer_service_name", "lifecycle", "templates"})
    vertices: list[Vertex] = Field(min_length=1)
    edges: list[Edge] = []
    limits: Limits = Limits()
    inter_step_buffer_service_name: str | None = None
    inter_step_buffer: Any = None
    lifecycle: Any = None
    watermark: Any = None
    templates: Any = None
    side_inputs: Any = None

    @model_validator(mode="after")
    def _graph(self) -> Spec:
        names = [vertex.name for vertex in self.vertices]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two vertices are called {name!r}")
        for edge in self.edges:
            for end in (edge.from_, edge.to):
                if end not in names:
                    raise ValueError(f"the edge {edge.from_} -> {edge.to} names the vertex {end!r}, which is not there")
        for vertex in self.vertices:
            self._check_ends(vertex)
        self.in_order()
        return self

    def _check_ends(self, vertex: Vertex) -> None:
        into = [edge for edge in self.edges if edge.to == vertex.name]
        out = [edge for edge in self.edges if edge.from_ == vertex.name]
        if (vertex.source is None) != bool(into):
            raise ValueError(f"vertex {vertex.name!r}: a source has no edge into it, any other vertex has one")
        if (vertex.sink is None) != bool(out):
            raise ValueError(f"vertex {vertex.name!r}: a sink has no edge out of it, any other vertex has one")

    def in_order(self) -> list[Vertex]:
        """Return the vertices from the sources to the sinks.

        Raises
        ------
        ValueError
            If the edges go round in a circle.
        """
        left = list(self.vertices)
        ordered: list[Vertex] = []
        while left:
            done = {vertex.name for vertex in ordered}
            ready = [v for v in left if all(e.from_ in done for e in self.edges if e.to == v.name)]
            if not ready:
                raise ValueError(f"the edges between {', '.join(v.name for v in left)} go round in a circle")
            ordered += ready
            left = [v for v in left if v not in ready]
        return ordered


class Metadata(BaseModel):
    """Kubernetes's own; any of its fields may stand here."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(pattern=_NAME)
    namespace: str = ""


class Pipeline(_Part):
    """A Pipeline manifest."""

    honoured = frozenset({"api_version", "kind", "metadata", "spec"})
    api_version: Literal["numaflow.numaproj.io/v1alpha1"]
    kind: Literal["Pipeline"]
    metadata: Metadata
    spec: Spec

    @property
    def name(self) -> str:
        """Name of the pipeline."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace on a cluster; empty where the manifest leaves it open."""
        return self.metadata.namespace

    def edge_name(self, edge: Edge) -> str:
        """Name of an edge's buffer."""
        return f"{self.name}-{edge.from_}-{edge.to}"

    def limits_of(self, vertex: Vertex) -> Limits:
        """Return the vertex's limits where it has its own, else the pipeline's."""
        own = vertex.limits.model_dump(exclude_unset=True)
        return self.spec.limits.model_copy(update=own)


def read_pipeline(path: Path) -> Pipeline:
    """Read a Pipeline manifest.

    Raises
    ------
    UsageError
        If the file is missing, no YAML, no Pipeline, or has a field that Numaflow does not know.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    return parse_pipeline(text, str(path))


def parse_pipeline(text: str, where: str) -> Pipeline:
    """Return the Pipeline that a manifest's text holds, among other objects or alone.

    Parameters
    ----------
    text
        YAML.
    where
        Where it was read from, for messages.

    Raises
    ------
    UsageError
        If it is no YAML, holds no Pipeline or several, or has a field that Numaflow does not know.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "Pipeline"]
    if len(found) != 1:
        kinds = ", ".join(str(d.get("kind")) for d in documents if isinstance(d, dict)) or "nothing"
        raise UsageError(f"{where} holds {kinds}; one Pipeline is needed")
    try:
        return Pipeline.model_validate(found[0])
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_error(error, found[0])}") from error


def _first_error(error: ValidationError, document: dict[str, Any]) -> str:
    """Say what is wrong, and where, in one line."""
    lines: list[str] = []
    for found in error.errors():
        where = ""
        node: Any = document
        for step in found["loc"]:
            node = _step(node, step)
            name = node.get("name") if isinstance(step, int) and isinstance(node, dict) else None
            where += f"[{name or step}]" if isinstance(step, int) else (f".{step}" if where else str(step))
        what = "unknown field" if found["type"] == "extra_forbidden" else found["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {what}" if where and not found["msg"].startswith("Value error") else what)
    return "; ".join(lines)


def _step(node: Any, step: int | str) -> Any:  # noqa: ANN401 - a node of a YAML document
    if isinstance(node, list) and isinstance(step, int) and step < len(node):
        return node[step]
    return node.get(step) if isinstance(node, dict) else None
