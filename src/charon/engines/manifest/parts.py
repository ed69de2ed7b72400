"""Models of the parts of a vertex: containers, sources, functions, sinks, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator  # noqa: TC003 - pydantic reads the annotations of this module
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|s|m|h)")
_UNIT_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Part(BaseModel):
    """Base class of the models in a manifest.

    `supported` are the fields that the embedded engine implements, `cluster_only` those that configure a cluster and
    that the embedded engine ignores without a warning.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)
    supported: ClassVar[frozenset[str]] = frozenset()
    cluster_only: ClassVar[frozenset[str]] = frozenset()

    def unsupported_fields(self, path: str) -> Iterator[str]:
        """Yield the path of every field that is set, unless it is supported or only configures a cluster."""
        for name, info in type(self).model_fields.items():
            if name not in self.model_fields_set or name in self.cluster_only:
                continue
            field_path = f"{path}.{info.alias}" if path else str(info.alias)
            value: Any = getattr(self, name)
            if name not in self.supported:
                yield field_path
            elif isinstance(value, Part):
                yield from value.unsupported_fields(field_path)
            elif isinstance(value, list):
                for item in cast("list[Any]", value):
                    if isinstance(item, Part):
                        label = getattr(item, "name", "")
                        yield from item.unsupported_fields(f"{field_path}[{label}]" if label else field_path)


class EnvVar(Part):
    """An environment variable of a container; the embedded engine does not set one with ``valueFrom``."""

    supported = frozenset({"name", "value"})
    cluster_only = frozenset({"value_from"})
    name: str
    value: str = ""
    value_from: Any = None


class Container(Part):
    """The program of a vertex; the embedded engine runs the installed program with the container's arguments."""

    supported = frozenset({"command", "args", "env"})
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
        """Return the variables whose value is in the manifest."""
        return {variable.name: variable.value for variable in self.env if variable.value_from is None}


class UserDefined(Part):
    """A user-defined source or sink."""

    supported = frozenset({"container"})
    container: Container


class Source(Part):
    """A source vertex."""

    supported = frozenset({"udsource"})
    udsource: UserDefined
    transformer: Any = None


class Builtin(Part):
    """A function built into Numaflow; the embedded engine rejects it at the start, because it has no such functions."""

    name: Literal["cat"]
    args: list[str] = []
    kwargs: dict[str, str] = {}


class Udf(Part):
    """A map vertex."""

    supported = frozenset({"container"})
    container: Container | None = None
    builtin: Builtin | None = None
    group_by: Any = None

    @model_validator(mode="after")
    def _one_of(self) -> Udf:
        if (self.container is None) == (self.builtin is None):
            raise ValueError("specify exactly one of container and builtin")
        return self


class Sink(Part):
    """A sink vertex."""

    supported = frozenset({"udsink", "log", "blackhole"})
    udsink: UserDefined | None = None
    log: dict[str, Any] | None = None
    blackhole: dict[str, Any] | None = None
    fallback: Any = None
    retry_strategy: Any = None

    @model_validator(mode="after")
    def _one_of(self) -> Sink:
        if sum(part is not None for part in (self.udsink, self.log, self.blackhole)) != 1:
            raise ValueError("specify exactly one of udsink, log and blackhole")
        return self


class Limits(Part):
    """Sizes of a batch and of a buffer; readers of the embedded engine do not wait for a batch to fill."""

    supported = frozenset({"read_batch_size", "buffer_max_length", "buffer_usage_limit"})
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
        """Parse a Go duration such as ``1s`` or ``1m30s``."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(rf"({_DURATION.pattern})+", value):
            raise ValueError(f"{value!r} is not a duration; write it as 500ms or 1s")
        return timedelta(seconds=sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(value)))


class Scale(Part):
    """Number of replicas; the embedded engine runs the minimum and has no autoscaler."""

    supported = frozenset({"min", "disabled"})

    def unsupported_fields(self, path: str) -> Iterator[str]:
        """Yield the unsupported fields; a maximum equal to the minimum needs no autoscaler."""
        fixed = self.max is not None and self.max == (self.min if self.min is not None else 1)
        yield from (field for field in super().unsupported_fields(path) if not (fixed and field.endswith(".max")))

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
