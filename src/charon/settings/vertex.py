"""Settings of a vertex's process, from the environment variables that its engine and the manifest set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from charon.errors import UsageError
from charon.settings import environment
from charon.settings.base import Settings
from charon.settings.nats import NatsAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

LogLevel = Literal["CRITICAL", "FATAL", "ERROR", "WARNING", "WARN", "INFO", "DEBUG", "NOTSET"]


class VertexSettings(Settings):
    """Settings that do not depend on the engine.

    Parameters
    ----------
    run, vertex, replica
        Names of the run and the vertex, and the number of this replica.
    read_batch_size
        Maximum number of messages in a batch.
    output
        Folder for the results of an image sink.
    manifest
        Text of the manifest, for the provenance in the results.
    frame_log
        Folder of the frame logs, one file per replica; None writes none.
    log_level
        Level of the log on stderr.
    """

    run: str = "run"
    vertex: str
    replica: int = Field(default=0, ge=0)
    read_batch_size: int = Field(default=8, ge=1)
    output: Path = Path("/data")
    manifest: str = Field(default="", repr=False)
    frame_log: Path | None = None
    log_level: LogLevel = "INFO"

    @property
    def page(self) -> str:
        """Key of this replica's page in the ledger."""
        return f"{self.vertex}.{self.replica}"


class EmbeddedSettings(VertexSettings):
    """Settings of a vertex on the embedded engine.

    Parameters
    ----------
    nats
        The run's nats-server.
    inlets, outlets
        Names of the edges into and out of the vertex.
    start_signal
        A source starts when the ledger's start page contains this value: its process starts together with the
        others, and no frame arrives before they are ready.
    """

    engine: Literal["embedded"] = "embedded"
    nats: NatsAddress
    inlets: tuple[str, ...] = ()
    outlets: tuple[str, ...] = ()
    start_signal: str = ""

    def to_environment(self) -> dict[str, str]:
        """Return the variables from which a vertex's process reads these settings.

        The variables of the output, the manifest, the frame log and the log level are not included: the engine sets the
        first three, and a manifest can override them.
        """
        variables = {"CHARON_ENGINE": self.engine}
        for path, names in {**_IDENTITY, **_EMBEDDED}.items():
            value: Any = self
            for part in path:
                value = getattr(value, part)
            variables[names[0]] = ",".join(value) if path in _LISTS else str(value)
        return variables


class MetricsSettings(Settings):
    """Address on which a vertex serves its metrics.

    Parameters
    ----------
    host
        Interface; a scrape arrives from another pod, so the default is every interface of this one.
    port
        TCP port; None serves no metrics.
    """

    host: str = "0.0.0.0"  # noqa: S104 - a pod's own addresses
    port: int | None = Field(default=None, ge=0, le=65535)


class NumaflowSettings(VertexSettings):
    """Settings of a vertex on Numaflow.

    Parameters
    ----------
    namespace, pipeline
        Names that Numaflow sets.
    sockets
        Folder that the pod's containers share: for the servers' sockets, and for files that outlive this container.
    ledger
        The nats-server with the ledger; None keeps the account in the pod.
    metrics
        Address of the metrics for Prometheus.
    drain_timeout_s
        Maximum time to drain after SIGTERM. Kubernetes kills the container after 30 s by default.
    """

    engine: Literal["numaflow"] = "numaflow"
    namespace: str = "default"
    pipeline: str
    sockets: Path = Path("/var/run/numaflow")
    ledger: NatsAddress | None = None
    metrics: MetricsSettings = MetricsSettings()
    drain_timeout_s: float = Field(default=20.0, ge=0, lt=1e6, allow_inf_nan=False)

    @property
    def bucket(self) -> str:
        """Name of the ledger's bucket."""
        return ledger_bucket(self.namespace, self.pipeline)


AnyVertexSettings = Annotated[EmbeddedSettings | NumaflowSettings, Field(discriminator="engine")]

# Paths of the fields and the variables that set them; the first variable that is set takes precedence.
_Variables = dict[tuple[str, ...], tuple[str, ...]]
_IDENTITY: _Variables = {
    ("run",): ("CHARON_RUN", "NUMAFLOW_PIPELINE_NAME"),
    ("vertex",): ("CHARON_VERTEX", "NUMAFLOW_VERTEX_NAME"),
    ("replica",): ("CHARON_REPLICA", "NUMAFLOW_REPLICA"),
    ("read_batch_size",): ("CHARON_READ_BATCH_SIZE",),
}
_COMMON: _Variables = {
    **_IDENTITY,
    ("output",): ("CHARON_OUTPUT",),
    ("manifest",): ("CHARON_MANIFEST",),
    ("frame_log",): ("CHARON_FRAME_LOG",),
    ("log_level",): ("CHARON_LOG",),
}
_EMBEDDED: _Variables = {
    ("nats", "host"): ("CHARON_NATS_HOST",),
    ("nats", "port"): ("CHARON_NATS_PORT",),
    ("nats", "token"): ("CHARON_NATS_TOKEN",),
    ("inlets",): ("CHARON_INLETS",),
    ("outlets",): ("CHARON_OUTLETS",),
    ("start_signal",): ("CHARON_SIGNAL",),
}
_LISTS = {("inlets",), ("outlets",)}
_NUMAFLOW: _Variables = {
    ("namespace",): ("NUMAFLOW_NAMESPACE",),
    ("pipeline",): ("NUMAFLOW_PIPELINE_NAME",),
    ("sockets",): ("CHARON_NUMAFLOW_SOCKETS",),
    ("metrics", "host"): ("CHARON_METRICS_HOST",),
    ("metrics", "port"): ("CHARON_METRICS_PORT",),
    ("drain_timeout_s",): ("CHARON_DRAIN_S",),
}


def read_vertex_settings(variables: Mapping[str, str] | None = None) -> EmbeddedSettings | NumaflowSettings:
    """Return the settings of this process.

    Parameters
    ----------
    variables
        Environment variables; None reads those of this process.

    Raises
    ------
    UsageError
        If no engine has started the process, or a variable is missing or invalid.
    """
    variables = environment.copy() if variables is None else variables
    engine = variables.get("CHARON_ENGINE") or ("numaflow" if variables.get("NUMAFLOW_VERTEX_NAME") else "")
    if engine == "numaflow":
        ledger = _ledger_address(variables)
        return _read(NumaflowSettings, {**_COMMON, **_NUMAFLOW}, variables, {"ledger": ledger})
    if engine == "embedded":
        names = {path: candidates[:1] for path, candidates in {**_COMMON, **_EMBEDDED}.items()}
        return _read(EmbeddedSettings, names, variables, {})
    raise UsageError("charon-vertex is started by an engine: use charonctl run FILE --local, or Numaflow")


def ledger_bucket(namespace: str, pipeline: str) -> str:
    """Return the name of the bucket with a pipeline's ledger; names in Kubernetes contain no underscore."""
    return f"charon_{namespace}_{pipeline}"


def settings_schema() -> dict[str, Any]:
    """Return the JSON schema of a vertex's settings."""
    schema: dict[str, Any] = TypeAdapter[EmbeddedSettings | NumaflowSettings](AnyVertexSettings).json_schema()
    return {"title": "VertexSettings", **schema}


_Model = TypeVar("_Model", bound=VertexSettings)


def _read(model: type[_Model], names: _Variables, variables: Mapping[str, str], values: dict[str, Any]) -> _Model:
    for path, candidates in names.items():
        text = next((variables[name] for name in candidates if variables.get(name)), None)
        if text is not None:
            target = values
            for part in path[:-1]:
                target = target.setdefault(part, {})
            target[path[-1]] = tuple(filter(None, text.split(","))) if path in _LISTS else text
    try:
        return model(**values)
    except ValidationError as error:
        raise UsageError(_describe(error, names, variables)) from None


def _describe(error: ValidationError, names: _Variables, variables: Mapping[str, str]) -> str:
    """Return the first error of a validation, by the name of the variable."""
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    candidates = names.get(path) or next(names[known] for known in names if known[: len(path)] == path)
    name = next((candidate for candidate in candidates if variables.get(candidate)), None)
    if name is None:
        return f"{candidates[-1]} is not set; the engine sets it when it starts charon-vertex"
    reason = re.sub("^Input should be", "expected", first["msg"]).partition(", unable")[0]
    return f"{name}: invalid value {variables[name]!r} ({reason})"


def _ledger_address(variables: Mapping[str, str]) -> NatsAddress | None:
    url = variables.get("CHARON_LEDGER")
    if not url:
        return None
    user, password = variables.get("CHARON_LEDGER_USER", ""), variables.get("CHARON_LEDGER_PASSWORD", "")
    try:
        return NatsAddress.from_url(url, user, password)
    except UsageError as error:
        raise UsageError(f"CHARON_LEDGER: {error}") from None
