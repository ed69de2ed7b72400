"""Fixtures: a shell on a pseudo-terminal with its own home folder, and a fake cluster."""

from __future__ import annotations

import json
import os
import threading

import pytest
from kubernetes_api import Api
from shell_terminal import READY, ROOT, Terminal

from loopback import isolated_environment


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """Return an environment with its own home folder and pvAccess on loopback."""
    for name in list(os.environ):
        if name.startswith(("EPICS_", "CHARON_", "KUBE", "XDG_", "PYTHONUNBUFFERED", "NO_COLOR", "PROMPT_TOOLKIT")):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    return isolated_environment(HOME=str(home), TERM="xterm-256color", LANG="C.UTF-8")


@pytest.fixture
def work(tmp_path):
    """Return a working folder that contains workflows, as a checkout does."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "workflows").symlink_to(ROOT / "workflows")
    return folder


@pytest.fixture
def shell(environment, work):
    """Return a function that starts a shell and waits for its prompt."""
    started = []

    def start(more=None, *, without=(), command=None, ready=READY, first=True):
        selected = {name: value for name, value in {**environment, **(more or {})}.items() if name not in without}
        terminal = Terminal(selected, work, command, ready)
        started.append(terminal)
        if first:
            terminal.greeting = terminal.prompt()
        return terminal

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def api(tmp_path):
    """Return a function that starts an API server and writes a kubeconfig for it."""
    started = []

    def start(delay_s=0.0):
        server = Api(tmp_path / "kubeconfig", delay_s)
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        started.append((server, thread))
        server.kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "clusters": [{"name": "here", "cluster": {"server": server.url}}],
                    "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
                    "users": [{"name": "me", "user": {}}],
                }
            )
        )
        return server

    yield start
    for server, thread in started:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
