"""What a container on Numaflow is told, and what it makes of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from charon.engines.numaflow import NumaflowSettings, bucket_of, started_by_numaflow
from charon.errors import UsageError

GIVEN = {
    "NUMAFLOW_NAMESPACE": "beam",
    "NUMAFLOW_POD": "aps-cat-2-x",
    "NUMAFLOW_REPLICA": "2",
    "NUMAFLOW_PIPELINE_NAME": "aps",
    "NUMAFLOW_VERTEX_NAME": "cat",
}


def test_numaflows_names_and_the_defaults():
    settings = NumaflowSettings.from_environment(GIVEN)
    assert (settings.page, settings.bucket) == ("cat.2", "charon_beam_aps")
    assert settings.sockets == Path("/var/run/numaflow")
    assert settings.ledger is None
    assert settings.metrics_port is None


def test_a_ledger_has_its_secret_in_variables_and_shows_it_nowhere():
    more = {
        "CHARON_LEDGER": "nats://isbsvc-default-js-svc:4222",
        "CHARON_LEDGER_USER": "u",
        "CHARON_LEDGER_PASSWORD": "pw-x",
    }
    settings = NumaflowSettings.from_environment(GIVEN | more | {"CHARON_METRICS_PORT": "9101"})
    assert settings.ledger is not None
    assert (settings.ledger.host, settings.ledger.port, settings.ledger.user) == ("isbsvc-default-js-svc", 4222, "u")
    assert settings.ledger.password == "pw-x"  # noqa: S105 - made up
    assert "pw-x" not in repr(settings)
    assert settings.metrics_port == 9101


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("NUMAFLOW_VERTEX_NAME", None, "NUMAFLOW_VERTEX_NAME is not set"),
        ("NUMAFLOW_REPLICA", "-1", "a number from 0 up"),
        ("CHARON_DRAIN_S", "soon", "CHARON_DRAIN_S is 'soon'"),
        ("CHARON_DRAIN_S", "nan", "CHARON_DRAIN_S is 'nan'"),
        ("CHARON_LEDGER", "nats://", "invalid address"),
        ("CHARON_LEDGER", "nats://h:99999", "invalid address"),
        ("CHARON_LEDGER", "nats://u:pw-x@h:1", "remove user and password"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is_shown(variable, value, words):
    environment = {**GIVEN, variable: value}
    if value is None:
        del environment[variable]
    with pytest.raises(UsageError, match=words) as caught:
        NumaflowSettings.from_environment(environment)
    assert "pw-x" not in str(caught.value)


def test_namespace_and_pipeline_make_one_bucket_only():
    assert bucket_of("a-b", "c") != bucket_of("a", "b-c")


def test_who_started_the_process():
    assert started_by_numaflow(GIVEN)
    assert started_by_numaflow({"CHARON_ENGINE": "numaflow"})
    assert not started_by_numaflow({**GIVEN, "CHARON_ENGINE": "embedded"})
    assert not started_by_numaflow({})


def test_without_pynumaflow_one_line_says_what_to_install(tmp_path):
    program = (
        "import sys; sys.modules['pynumaflow'] = None; sys.argv = ['charon-vertex', 'log-sink']\n"
        "from charon.cli.vertex import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**GIVEN, "CHARON_NUMAFLOW_SOCKETS": str(tmp_path), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "error: pynumaflow is not installed: pip install pynumaflow" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "charon.cli.vertex", "log-sink"],
        env={**GIVEN, "CHARON_NUMAFLOW_SOCKETS": str(tmp_path / "absent"), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"error: cannot serve at {tmp_path}/absent/sink.sock" in done.stderr
    assert "Traceback" not in done.stderr
