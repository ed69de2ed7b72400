"""The Pipeline: vertices, the edges between them, and what holds for all."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from charon.engines.manifest.parts import Container, Limits, Part, Scale, Sink, Source, Udf

_NAME = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class Vertex(Part):
    """One computing step."""

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


class Edge(Part):
    """A buffer between two vertices; a full one makes its writer wait."""

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
        """Namespace on a cluster; empty where the manifest leaves it open."""
        return self.metadata.namespace

    def edge_name(self, edge: Edge) -> str:
        """Name of an edge's buffer."""
        return f"{self.name}-{edge.from_}-{edge.to}"

    def limits_of(self, vertex: Vertex) -> Limits:
        """Return the vertex's limits where it has its own, else the pipeline's."""
        own = vertex.limits.model_dump(exclude_unset=True)
        return self.spec.limits.model_copy(update=own)
