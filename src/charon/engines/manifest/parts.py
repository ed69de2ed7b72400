"""What stands in a vertex: containers, sources, functions, sinks, limits."""

from __future__ import annotations

import re
from collections.abc import Iterator  # noqa: TC003 - pydantic reads the annotations of this module
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_camel

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|s|m|h)")
_UNIT_S = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Part(BaseModel):
    """A part of the manifest.

    `supported` names the fields that the embedded engine acts on, `cluster_only` those that say how a cluster is to
    run what the embedded engine runs in any case.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel)
    supported: ClassVar[frozenset[str]] = frozenset()
    cluster_only: ClassVar[frozenset[str]] = frozenset()

    def unsupported_fields(self, path: str) -> Iterator[str]:
        """Yield the path of every field that is set, not supported, and not a cluster's own affair."""
        for name, info in type(self).model_fields.items():
            if name not in self.model_fields_set or name in self.cluster_only:
                continue
            here = f"{path}.{info.alias}" if path else str(info.alias)
            value = getattr(self, name)
            parts = value if isinstance(value, list) else [value]
            if name not in self.supported:
                yield here
                continue
            for part in parts:
                if isinstance(part, Part):
                    label = getattr(part, "name", None) if isinstance(value, list) else None
                    yield from part.unsupported_fields(f"{here}[{label}]" if label else here)


class EnvVar(Part):
    """An environment variable of a container; what comes from a cluster's objects is not set here."""

    supported = frozenset({"name", "value"})
    cluster_only = frozenset({"value_from"})
    name: str
    value: str = ""
    value_from: Any = None


class Container(Part):
    """What runs in a vertex; the embedded engine runs its command's arguments with the program installed here."""

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
        """Return the variables that have a value in the manifest itself."""
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
    """A function that Numaflow brings along; the embedded engine has none, and refuses it when it starts."""

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
            raise ValueError("a udf has either a container or a builtin")
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
            raise ValueError("a sink is one of udsink, log and blackhole")
        return self


class Limits(Part):
    """How much is read at once and how much a buffer holds; the embedded engine's readers do not wait for more."""

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
        """Read a Go duration such as ``1s`` or ``1m30s``."""
        if not isinstance(value, str):
            return value
        if not re.fullmatch(rf"({_DURATION.pattern})+", value):
            raise ValueError(f"{value!r} is no duration such as 500ms or 1s")
        return timedelta(seconds=sum(float(n) * _UNIT_S[unit] for n, unit in _DURATION.findall(value)))


class Scale(Part):
    """How many replicas; the embedded engine runs the least number and does not scale by itself."""

    supported = frozenset({"min", "disabled"})

    def unsupported_fields(self, path: str) -> Iterator[str]:
        """Yield what is not supported; a most that is the least asks for no scaling."""
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
