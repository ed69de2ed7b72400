"""Settings of a vertex's process: variables, defaults, errors and the round trip of the embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from charon.errors import UsageError
from charon.settings.nats import NatsAddress
from charon.settings.vertex import EmbeddedSettings, NumaflowSettings, ledger_bucket, read_vertex_settings

NUMAFLOW = {
    "NUMAFLOW_NAMESPACE": "beam",
    "NUMAFLOW_POD": "aps-cat-2-x",
    "NUMAFLOW_REPLICA": "2",
    "NUMAFLOW_PIPELINE_NAME": "aps",
    "NUMAFLOW_VERTEX_NAME": "cat",
}
EMBEDDED = EmbeddedSettings(
    run="p-1",
    vertex="cat",
    replica=1,
    nats=NatsAddress(port=4333, token="secret"),  # noqa: S106 - not a secret
    inlets=("p-in-cat",),
    outlets=("p-cat-image", "p-cat-out"),
    read_batch_size=4,
    start_signal="abc",
)


def test_numaflow_variables_set_names_and_defaults():
    settings = read_vertex_settings(NUMAFLOW)
    assert isinstance(settings, NumaflowSettings)
    assert (settings.page, settings.bucket, settings.run) == ("cat.2", "charon_beam_aps", "aps")
    assert settings.sockets == Path("/var/run/numaflow")
    assert settings.ledger is None
    assert settings.metrics.port is None
    assert (settings.read_batch_size, settings.drain_timeout_s, settings.log_level) == (8, 20.0, "INFO")


def test_charon_variables_override_numaflow_names():
    settings = read_vertex_settings({**NUMAFLOW, "CHARON_RUN": "r", "CHARON_REPLICA": "0"})
    assert (settings.run, settings.page) == ("r", "cat.0")


def test_ledger_password_is_not_in_repr():
    variables = {
        "CHARON_LEDGER": "nats://isbsvc-default-js-svc:4222",
        "CHARON_LEDGER_USER": "u",
        "CHARON_LEDGER_PASSWORD": "pw-x",
        "CHARON_METRICS_PORT": "9101",
    }
    settings = read_vertex_settings(NUMAFLOW | variables)
    assert isinstance(settings, NumaflowSettings)
    assert settings.ledger is not None
    assert (settings.ledger.host, settings.ledger.port, settings.ledger.user) == ("isbsvc-default-js-svc", 4222, "u")
    assert settings.ledger.password == "pw-x"  # noqa: S105 - not a secret
    assert "pw-x" not in repr(settings)
    assert settings.metrics.port == 9101


def test_embedded_settings_survive_environment():
    variables = EMBEDDED.to_environment()
    assert read_vertex_settings(variables) == EMBEDDED
    assert "CHARON_OUTPUT" not in variables
    more = {"CHARON_OUTPUT": "/out", "CHARON_MANIFEST": "kind: Pipeline", "CHARON_LOG": "DEBUG"}
    settings = read_vertex_settings(variables | more)
    assert (settings.output, settings.manifest, settings.log_level) == (Path("/out"), "kind: Pipeline", "DEBUG")


def test_settings_are_frozen_and_reject_unknown_fields():
    with pytest.raises(ValidationError):
        EMBEDDED.run = "other"
    with pytest.raises(ValidationError):
        NatsAddress(port=1, colour="red")  # pyright: ignore[reportCallIssue] - an unknown field


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("NUMAFLOW_PIPELINE_NAME", None, "NUMAFLOW_PIPELINE_NAME is not set"),
        ("NUMAFLOW_REPLICA", "-1", "NUMAFLOW_REPLICA: invalid value '-1' .expected greater than or equal to 0"),
        ("CHARON_REPLICA", "one", "CHARON_REPLICA: invalid value 'one' .expected a valid integer"),
        ("CHARON_READ_BATCH_SIZE", "0", "CHARON_READ_BATCH_SIZE: invalid value '0'"),
        ("CHARON_LOG", "loud", "CHARON_LOG: invalid value 'loud'"),
        ("CHARON_METRICS_PORT", "70000", "CHARON_METRICS_PORT: invalid value '70000'"),
        ("CHARON_DRAIN_S", "soon", "CHARON_DRAIN_S: invalid value 'soon'"),
        ("CHARON_DRAIN_S", "nan", "CHARON_DRAIN_S: invalid value 'nan'"),
        ("CHARON_LEDGER", "nats://", "CHARON_LEDGER: .*invalid address"),
        ("CHARON_LEDGER", "nats://h:99999", "invalid address"),
        ("CHARON_LEDGER", "nats://u:pw-x@h:1", "remove user and password"),
    ],
)
def test_invalid_variable_is_named_without_secrets(variable, value, message):
    variables = {**NUMAFLOW, variable: value}
    if value is None:
        del variables[variable]
    with pytest.raises(UsageError, match=message) as caught:
        read_vertex_settings(variables)
    assert "pw-x" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_embedded_variable_is_named():
    variables = EMBEDDED.to_environment()
    del variables["CHARON_NATS_PORT"], variables["CHARON_VERTEX"]
    with pytest.raises(UsageError, match="CHARON_VERTEX is not set"):
        read_vertex_settings(variables)


def test_bucket_is_unique_for_namespace_and_pipeline():
    assert ledger_bucket("a-b", "c") != ledger_bucket("a", "b-c")


@pytest.mark.parametrize(
    ("variables", "engine"),
    [
        (NUMAFLOW, "numaflow"),
        ({**NUMAFLOW, "CHARON_ENGINE": "numaflow"}, "numaflow"),
        ({**NUMAFLOW, **EMBEDDED.to_environment()}, "embedded"),
    ],
)
def test_engine_is_recognised(variables, engine):
    assert read_vertex_settings(variables).engine == engine


def test_process_without_engine_is_rejected():
    with pytest.raises(UsageError, match="started by an engine"):
        read_vertex_settings({})


def test_frame_log_is_a_folder_for_every_engine():
    for variables in (NUMAFLOW, EMBEDDED.to_environment()):
        assert read_vertex_settings(variables).frame_log is None
        assert read_vertex_settings({**variables, "CHARON_FRAME_LOG": ""}).frame_log is None
        assert read_vertex_settings({**variables, "CHARON_FRAME_LOG": "/log"}).frame_log == Path("/log")
