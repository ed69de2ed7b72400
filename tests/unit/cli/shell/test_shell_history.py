"""The history file is private and free of secrets; the shell works without it."""

from __future__ import annotations

import asyncio
import stat
import threading
from contextlib import suppress

import pytest

from charon.cli.shell.history import MAX_LINES, FileHistory, history_path, is_recordable


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "charon" / "history"


def load(path):
    """Return the lines that the next start of the shell loads, the oldest first."""
    history = FileHistory(path)

    async def collect():
        return [line async for line in history.load()]

    return asyncio.run(collect())[::-1]


def test_lines_are_loaded_at_the_next_start(path):
    history = FileHistory(path)
    for line in ("status", "run 'a b.yaml'", "run caf\udce9.yaml", "run é.yaml"):
        history.append_string(line)
    assert load(path) == ["status", "run 'a b.yaml'", "run caf\udce9.yaml", "run é.yaml"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_permissions_of_the_file_are_restricted(path):
    path.parent.mkdir(parents=True)
    path.write_text("status\n")
    path.chmod(0o644)
    FileHistory(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == ["status"]


@pytest.mark.parametrize(
    "line",
    [
        "provision x.yaml -e ansible_become_pass=hunter2",
        'provision x.yaml -e \'{"ansible_become_password": "hunter2"}\'',
        "provision x.yaml -e grafana_password=hunter2",
        "kubectl --token hunter2 get pod",
        "kubectl --password=hunter2 get pod",
        "kubectl create secret generic x --from-literal=a=hunter2",
        "kubectl create -n there secret docker-registry x",
        "metrics https://me:hunter2@example.org/",
        "metrics https://:hunter2@example.org/",
        "metrics https://me:hunter/2@example.org/",
        "run https://hunter2@example.org/a.yaml",
        "kubectl exec p -- sh -c 'curl -u me:hunter2 http://x'",
        'kubectl patch secret s -p \'{"stringData": {"key": "hunter2"}}\'',
        "metrics http://localhost --header 'Authorization: Bearer hunter2'",
        "kubectl config set-credentials me --client-key-password hunter2",
        "kubectl get pod --as x --api-key hunter2",
        " status",
        "hunter2",
        "'hunter2",
        "charonctl hunter2",
    ],
)
def test_possible_secret_is_not_saved(path, line):
    assert not is_recordable(line)
    history = FileHistory(path)
    history.append_string("status")
    history.append_string(line)
    assert path.read_text() == "status\n"


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "./charonctl status",
        "charon> kubectl get pod",
        "kubectl get secrets",
        "kubectl describe secret grafana",
        "kubectl auth can-i get pods",
        "kubectl apply -f workflows/aps/numaflow-storage-class.yaml",
        "metrics http://localhost:9090 --queries-file ./workflows/aps/metrics.txt --start 2025-08-18T14:47:57Z",
        "run https://example.org/a.yaml",
        "run https://example.org/x@v1/a.yaml",
        "metrics http://localhost:9090/prom --run p@2025-08-18T14:47:57Z",
        "provision x.yaml me@node -u root",
        "help run",
        "--version",
    ],
)
def test_harmless_line_is_saved(line):
    assert is_recordable(line)


def test_secret_is_not_in_the_session_history(path):
    history = FileHistory(path)
    history.append_string("kubectl --token hunter2 get pod")
    history.append_string("mistyped")
    assert history.get_strings() == ["mistyped"]


def test_pasted_lines_are_saved_separately(path):
    history = FileHistory(path)
    history.append_string("status\nstop x\n")
    history.append_string("stop x")
    assert path.read_text() == "status\nstop x\n"


def test_long_file_is_truncated(path):
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"help {n}\n" for n in range(2 * MAX_LINES + 1)))
    lines = load(path)
    assert len(lines) == MAX_LINES
    assert lines[-1] == f"help {2 * MAX_LINES}"
    assert len(path.read_text().splitlines()) == MAX_LINES


def test_two_shells_share_a_file(path):
    shells = [FileHistory(path) for _ in range(2)]
    threads = [
        threading.Thread(target=lambda s=s, n=n: [s.append_string(f"help {n}-{i}") for i in range(100)])
        for n, s in enumerate(shells)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(path.read_text().splitlines()) == sorted(f"help {n}-{i}" for n in range(2) for i in range(100))


def test_unwritable_file_is_one_warning(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    history = FileHistory(tmp_path / "file" / "history")
    history.append_string("status")
    history.append_string("help")
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines() == [f"warning: history is not saved: {tmp_path / 'file'} is not a folder"]
    assert history.get_strings() == ["status", "help"]


def test_full_disk_is_one_warning(path, capsys, small_disk):
    disk = small_disk(1)
    history = FileHistory(disk / "history")
    (disk / "rest").write_bytes(b"x" * (1 << 19))
    with (disk / "more").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    for line in ("status", "help", "help run"):
        history.append_string(line)
    assert capsys.readouterr().err.count("history is not saved") == 1
    assert history.get_strings() == ["status", "help", "help run"]


def test_history_path_follows_xdg_and_home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert history_path() == tmp_path / "state/charon/history"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert history_path() == tmp_path / ".local/state/charon/history"
    monkeypatch.delenv("HOME")
    assert history_path() is None
