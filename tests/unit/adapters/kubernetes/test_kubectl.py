"""Client for kubectl; a script with recorded output replaces the real program."""

from __future__ import annotations

import os
import stat

import pytest

from charon.adapters.kubernetes import (
    Kubectl,
    NotFoundOnClusterError,
    cluster_configured,
    find_kubectl,
    kubeconfig,
    pass_through,
)
from charon.errors import UnavailableError, UsageError


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that installs a script as the only program on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kubeconfig, "K3S_KUBECONFIG", tmp_path / "k3s.yaml")
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))

    def install(body, name="kubectl"):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return install


@pytest.fixture
def configured(program, tmp_path, monkeypatch):
    """Provide a kubeconfig, and return the function that installs kubectl."""
    (tmp_path / "config").write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return program


def test_kubeconfig_is_searched_in_order(program, tmp_path, monkeypatch):
    kubectl = program("exit 0")
    with pytest.raises(UsageError, match=r"no cluster: no kubeconfig at ~/.kube/config or .*k3s.yaml"):
        find_kubectl(["get"])
    assert not cluster_configured()
    for path in (tmp_path / "k3s.yaml", tmp_path / "home" / ".kube" / "config", tmp_path / "named"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
        if path.name == "named":
            monkeypatch.setenv("KUBECONFIG", f"/nowhere{os.pathsep}{path}")
            assert find_kubectl(["get"]).kubeconfig == f"/nowhere{os.pathsep}{path}"
        else:
            assert find_kubectl(["get"]).kubeconfig == str(path)
        assert find_kubectl(["get"]).program == (str(kubectl),)
    assert cluster_configured()


@pytest.mark.parametrize(
    "arguments", [["version", "--client"], ["get", "--help"], ["kustomize", "x"], ["config", "view"]]
)
def test_offline_commands_need_no_kubeconfig(program, arguments):
    program("exit 0")
    assert find_kubectl(arguments).kubeconfig is None


@pytest.mark.parametrize("arguments", [["get", "pods", "--kubeconfig=x"], ["-s", "https://x", "get", "pods"]])
def test_address_in_arguments_needs_no_kubeconfig(program, arguments):
    program("exit 0")
    assert find_kubectl(arguments).kubeconfig is None


@pytest.mark.parametrize(
    "arguments",
    [["exec", "p", "--", "df", "-h"], ["-n", "config", "get", "pods"], ["get", "pods", "--context", "help"]],
)
def test_lookalike_of_offline_command_gets_kubeconfig(program, tmp_path, arguments):
    program("exit 0")
    (tmp_path / "k3s.yaml").write_text("{}")
    assert find_kubectl(arguments).kubeconfig == str(tmp_path / "k3s.yaml")


def test_k3s_is_used_without_kubectl(program, tmp_path):
    (tmp_path / "k3s.yaml").write_text("{}")
    with pytest.raises(UsageError, match="neither kubectl nor k3s is on the PATH"):
        find_kubectl(["get"])
    k3s = program("exit 0", "k3s")
    assert find_kubectl(["get"]).program == (str(k3s), "kubectl")


ERRORS = {
    "unknown kind": (
        (
            'error: resource mapping not found for name: "p" namespace: "": no matches for kind "Pipeline" in version'
            ' "numaflow.numaproj.io/v1alpha1"\nensure CRDs are installed first'
        ),
        UnavailableError,
        "is Numaflow installed",
    ),
    "missing object": ('Error from server (NotFound): pods "x" not found', NotFoundOnClusterError, '"x"'),
    "no permission": (
        'Error from server (Forbidden): pods is forbidden: User "u" cannot list resource "pods"',
        UnavailableError,
        '^permission denied by the cluster: pods is forbidden: User "u"',
    ),
    "invalid credentials": (
        "error: You must be logged in to the server (Unauthorized)",
        UnavailableError,
        "cluster rejected the credentials",
    ),
    "connection refused": (
        (
            "E1122 19:24:00.056146    2627 memcache.go:265] couldn't get current server API group list\n"
            "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?"
        ),
        UnavailableError,
        "^the cluster does not respond: The connection to the server 127.0.0.1:1 was refused",
    ),
    "no such host": (
        "Unable to connect to the server: dial tcp: lookup nowhere on 1.1.1.1:53: no such host",
        UnavailableError,
        "does not respond",
    ),
    "unknown option": (
        "error: unknown flag: --nonsense\nSee 'kubectl apply --help' for usage.",
        UsageError,
        "kubectl get: unknown flag: --nonsense",
    ),
    "missing context": ('error: context "nope" does not exist', UsageError, "nope"),
    "other error": ("error: the sky is falling", UnavailableError, "^kubectl get: the sky is falling$"),
    "no output": ("", UnavailableError, "failed without an error message"),
}


@pytest.mark.parametrize(("output", "kind", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_kubectl_error_is_one_line_of_right_type(configured, output, kind, message):
    configured(f"/bin/cat >&2 <<'END'\n{output}\nEND\nexit 1")
    with pytest.raises(kind, match=message) as error:
        Kubectl().json("get", "pods")
    assert "\n" not in str(error.value)


def test_call_to_hanging_cluster_times_out(configured):
    configured("exec /bin/sleep 30")
    with pytest.raises(UnavailableError, match="`kubectl get` timed out after 1 s"):
        Kubectl().text("get", "pods", timeout_s=1)


def test_connection_options_apply_to_every_call(configured):
    configured('echo "$@"')
    options = ["--server-side", "-nspace", "--context", "c", "--dry-run=server", "--kubeconfig=/k", "--force"]
    kubectl = Kubectl(options)
    assert kubectl.options == ["-n", "space", "--context", "c", "--kubeconfig=/k"]
    assert kubectl.namespace() == "space"
    arguments = kubectl.text("get", "pods").split()
    assert arguments[:7] == ["get", "pods", "-n", "space", "--context", "c", "--kubeconfig=/k"]
    with pytest.raises(UsageError, match="--context requires a value"):
        Kubectl(["--context"])


def test_namespace_is_from_kubeconfig_or_default(configured):
    configured("printf beamline")
    assert Kubectl().namespace() == "beamline"
    configured("exit 0")
    assert Kubectl().namespace() == "default"


def test_invalid_json_is_reported(configured):
    configured("echo what")
    with pytest.raises(UnavailableError, match="returned invalid JSON: 'what"):
        Kubectl().json("get", "pods")


@pytest.mark.parametrize(("body", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_exit_status_is_passed_through(configured, body, status):
    configured(body)
    assert pass_through(["get", "pods"]) == status


def test_output_streams_are_passed_through(configured, capfd):
    configured('echo "out $@"; echo err >&2')
    assert pass_through(["get", "-o", "wide"]) == 0
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("out get -o wide\n", "err\n")
