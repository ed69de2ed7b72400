"""Files in pods that are copied while they grow, with a program that replaces kubectl."""

import os
import time

import pytest

from charon.adapters.kubernetes import Kubectl
from charon.comparison.running.pods import streams
from charon.comparison.running.pods.streams import PodStream

# Runs the command after `--`, as `kubectl exec POD -- COMMAND` does in the pod.
KUBECTL = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
exec "$@"
"""


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL)
    program.chmod(0o755)
    (tmp_path / "config").touch(0o600)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(streams, "_RETRY_INTERVAL_S", 0.0)
    return Kubectl()


def wait_until(condition):
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def test_restarted_stream_continues_at_a_record(kubectl, tmp_path):
    remote, local = tmp_path / "remote", tmp_path / "local"
    remote.write_bytes(b"aaaabbbb")
    local.write_bytes(b"aaaabb")
    stream = PodStream(kubectl, "pod", lambda n: ["tail", "-c", f"+{n + 1}", "-f", str(remote)], local, record_bytes=4)
    try:
        stream.ensure()
        wait_until(lambda: local.read_bytes() == b"aaaabbbb")
        with remote.open("ab") as file:
            file.write(b"cccc")
        wait_until(lambda: local.read_bytes() == b"aaaabbbbcccc")
        assert stream.failure() is None
    finally:
        stream.close()


def test_command_that_always_fails_is_reported(kubectl, tmp_path):
    stream = PodStream(kubectl, "consumer", lambda _: ["sh", "-c", "echo no >&2; exit 1"], tmp_path / "local")
    deadline_s = time.monotonic() + 20
    while stream.failure() is None:
        assert time.monotonic() < deadline_s
        stream.ensure()
        time.sleep(0.01)
    assert stream.failure() == "kubectl exec in pod consumer failed: no"
    stream.close()
