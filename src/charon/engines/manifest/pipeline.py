"""Models of the Pipeline, its vertices and its edges."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from charon.engines.manifest.parts import Container, Limits, Part, Scale, Sink, Source, Udf

_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


def edge_name(pipeline: str, from_: str, to: str) -> str:
    """Return the name of the buffer of an edge between two vertices."""
    return f"{pipeline}-{from_}-{to}"


class Vertex(Part):
    """A computing step: a source, a map or a sink."""

    supported = frozenset({"name", "source", "udf", "sink", "scale", "limits"})
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
            raise ValueError("specify exactly one of source, udf and sink")
        return self

    @property
    def container(self) -> Container | None:
        """The vertex's container; None for a function or sink that is built into Numaflow."""
        if self.source is not None:
            return self.source.udsource.container
        if self.udf is not None:
            return self.udf.container
        return self.sink.udsink.container if self.sink and self.sink.udsink else None

    @property
    def replicas(self) -> int:
        """Number of replicas that the embedded engine runs: at least one, because it has no autoscaler."""
        return max(1, self.scale.min or 1)


class Edge(Part):
    """An edge between two vertices: a buffer whose writer waits while it is full."""

    supported = frozenset({"from_", "to", "on_full"})
    from_: str = Field(alias="from")
    to: str
    conditions: Any = None
    on_full: Literal["retryUntilSuccess"] = "retryUntilSuccess"


class Spec(Part):
    """Vertices and edges."""

    supported = frozenset({"vertices", "edges", "limits"})
    cluster_only = frozenset({"inter_step_buffer_service_name", "lifecycle", "templates"})
    vertices: list[Vertex] = Field(min_length=1)
    edges: list[Edge] = Field(default_factory=list[Edge])
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
                raise ValueError(f"duplicate vertex name {name!r}; rename one")
        for edge in self.edges:
            for end in (edge.from_, edge.to):
                if end not in names:
                    raise ValueError(f"edge {edge.from_} -> {edge.to}: unknown vertex {end!r}; correct its name")
        self._check_edge_names(names)
        for vertex in self.vertices:
            self._check_ends(vertex)
        self.in_order()
        return self

    def _check_edge_names(self, vertices: list[str]) -> None:
        """Check that the name of each edge's buffer identifies its two vertices, whose names can contain hyphens."""
        pairs = [(edge.from_, edge.to) for edge in self.edges]
        for from_, to in pairs:
            if pairs.count((from_, to)) > 1:
                raise ValueError(f"duplicate edge {from_} -> {to}; remove one")
            for other in itertools.product(vertices, repeat=2):
                if other != (from_, to) and "-".join(other) == f"{from_}-{to}":
                    raise ValueError(
                        f"edge {from_} -> {to}: its buffer has the same name as that of {other[0]} -> {other[1]};"
                        " rename one of the vertices"
                    )

    def _check_ends(self, vertex: Vertex) -> None:
        incoming = any(edge.to == vertex.name for edge in self.edges)
        outgoing = any(edge.from_ == vertex.name for edge in self.edges)
        if vertex.source is not None and incoming:
            raise ValueError(f"vertex {vertex.name!r}: a source cannot have an incoming edge; remove the edge")
        if vertex.source is None and not incoming:
            raise ValueError(f"vertex {vertex.name!r}: no incoming edge; add one")
        if vertex.sink is not None and outgoing:
            raise ValueError(f"vertex {vertex.name!r}: a sink cannot have an outgoing edge; remove the edge")
        if vertex.sink is None and not outgoing:
            raise ValueError(f"vertex {vertex.name!r}: no outgoing edge; add one")

    def in_order(self) -> list[Vertex]:
        """Return the vertices in topological order, from the sources to the sinks.

        Raises
        ------
        ValueError
            If the pipeline contains a cycle.
        """
        remaining = list(self.vertices)
        ordered: list[Vertex] = []
        while remaining:
            done = {vertex.name for vertex in ordered}
            ready = [v for v in remaining if all(e.from_ in done for e in self.edges if e.to == v.name)]
            if not ready:
                names = ", ".join(vertex.name for vertex in self._leading_to_cycle(remaining))
                raise ValueError(f"the pipeline contains a cycle: vertices {names}; remove an edge between them")
            ordered += ready
            remaining = [v for v in remaining if v not in ready]
        return ordered

    def _leading_to_cycle(self, vertices: list[Vertex]) -> list[Vertex]:
        """Return the vertices without those that only follow a cycle."""
        names = {vertex.name for vertex in vertices}
        remaining = [v for v in vertices if any(e.from_ == v.name and e.to in names for e in self.edges)]
        return vertices if len(remaining) == len(vertices) else self._leading_to_cycle(remaining)


class Metadata(BaseModel):
    """Metadata of a Kubernetes object; any further field is allowed."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str = Field(pattern=_NAME)
    namespace: str = ""


class Pipeline(Part):
    """A Pipeline manifest."""

    supported = frozenset({"api_version", "kind", "metadata", "spec"})
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
        """Namespace on a cluster; empty if the manifest does not specify one."""
        return self.metadata.namespace

    def edge_name(self, edge: Edge) -> str:
        """Return the name of an edge's buffer."""
        return edge_name(self.name, edge.from_, edge.to)

    def limits_of(self, vertex: Vertex) -> Limits:
        """Return the pipeline's limits, with those that the vertex overrides."""
        overrides = vertex.limits.model_dump(exclude_unset=True)
        return self.spec.limits.model_copy(update=overrides)
