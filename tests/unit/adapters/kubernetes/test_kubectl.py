"""kubectl is found, asked and understood; a script stands in for it, with what the real one was seen to say."""

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
    """Return a function that puts a script on the PATH, alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(kubeconfig, "K3S_KUBECONFIG", tmp_path / "k3s.yaml")
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(folder))

    def put(body, name="kubectl"):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return put


@pytest.fixture
def known(program, tmp_path, monkeypatch):
    """Let a cluster be known, and return the function that makes its kubectl."""
    (tmp_path / "config").write_text("{}")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    return program


def test_the_kubeconfig_is_the_first_of_three_places(program, tmp_path, monkeypatch):
    kubectl = program("exit 0")
    with pytest.raises(UsageError, match=r"no cluster: no kubeconfig in \$KUBECONFIG, ~/.kube/config or .*k3s.yaml"):
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
def test_what_asks_no_cluster_needs_none(program, arguments):
    program("exit 0")
    assert find_kubectl(arguments).kubeconfig is None


@pytest.mark.parametrize("arguments", [["get", "pods", "--kubeconfig=x"], ["-s", "https://x", "get", "pods"]])
def test_arguments_may_say_where_the_cluster_is(program, arguments):
    program("exit 0")
    assert find_kubectl(arguments).kubeconfig is None


@pytest.mark.parametrize(
    "arguments",
    [["exec", "p", "--", "df", "-h"], ["-n", "config", "get", "pods"], ["get", "pods", "--context", "help"]],
)
def test_what_only_looks_as_if_it_asked_no_cluster_gets_one(program, tmp_path, arguments):
    program("exit 0")
    (tmp_path / "k3s.yaml").write_text("{}")
    assert find_kubectl(arguments).kubeconfig == str(tmp_path / "k3s.yaml")


def test_k3s_stands_in_for_kubectl_and_its_absence_is_named(program, tmp_path):
    (tmp_path / "k3s.yaml").write_text("{}")
    with pytest.raises(UsageError, match="no kubectl on the PATH"):
        find_kubectl(["get"])
    k3s = program("exit 0", "k3s")
    assert find_kubectl(["get"]).program == (str(k3s), "kubectl")


SAID = {
    "a kind that nobody knows": (
        (
            'error: resource mapping not found for name: "p" namespace: "": no matches for kind "Pipeline" in version'
            ' "numaflow.numaproj.io/v1alpha1"\nensure CRDs are installed first'
        ),
        UnavailableError,
        "is Numaflow installed",
    ),
    "an object that is not there": ('Error from server (NotFound): pods "x" not found', NotFoundOnClusterError, '"x"'),
    "no permission": (
        'Error from server (Forbidden): pods is forbidden: User "u" cannot list resource "pods"',
        UnavailableError,
        '^the cluster forbids it: pods is forbidden: User "u"',
    ),
    "wrong credentials": (
        "error: You must be logged in to the server (Unauthorized)",
        UnavailableError,
        "credentials of the kubeconfig are refused",
    ),
    "nobody there": (
        (
            "E1122 19:24:00.056146    2627 memcache.go:265] couldn't get current server API group list\n"
            "The connection to the server 127.0.0.1:1 was refused - did you specify the right host or port?"
        ),
        UnavailableError,
        "^the cluster does not answer: The connection to the server 127.0.0.1:1 was refused",
    ),
    "no such host": (
        "Unable to connect to the server: dial tcp: lookup nowhere on 1.1.1.1:53: no such host",
        UnavailableError,
        "does not answer",
    ),
    "an option that kubectl does not have": (
        "error: unknown flag: --nonsense\nSee 'kubectl apply --help' for usage.",
        UsageError,
        "kubectl get: unknown flag: --nonsense",
    ),
    "a context that is not there": ('error: context "nope" does not exist', UsageError, "nope"),
    "anything else": ("error: the sky is falling", UnavailableError, "^kubectl get: the sky is falling$"),
    "nothing at all": ("", UnavailableError, "it said nothing"),
}


@pytest.mark.parametrize(("said", "kind", "words"), SAID.values(), ids=SAID.keys())
def test_what_kubectl_says_is_one_line_of_the_right_kind(known, said, kind, words):
    known(f"/bin/cat >&2 <<'END'\n{said}\nEND\nexit 1")
    with pytest.raises(kind, match=words) as error:
        Kubectl().json("get", "pods")
    assert "\n" not in str(error.value)


def test_a_cluster_that_hangs_is_given_up(known):
    known("exec /bin/sleep 30")
    with pytest.raises(UnavailableError, match="did not answer `kubectl get` in 1 s"):
        Kubectl().text("get", "pods", timeout_s=1)


def test_what_says_where_to_ask_is_kept_for_every_question(known):
    known('echo "$@"')
    options = ["--server-side", "-nspace", "--context", "c", "--dry-run=server", "--kubeconfig=/k", "--force"]
    kubectl = Kubectl(options)
    assert kubectl.options == ["-n", "space", "--context", "c", "--kubeconfig=/k"]
    assert kubectl.namespace() == "space"
    asked = kubectl.text("get", "pods").split()
    assert asked[:7] == ["get", "pods", "-n", "space", "--context", "c", "--kubeconfig=/k"]
    with pytest.raises(UsageError, match="--context needs a value"):
        Kubectl(["--context"])


def test_the_namespace_is_the_kubeconfig_s_or_the_default(known):
    known("printf beamline")
    assert Kubectl().namespace() == "beamline"
    known("exit 0")
    assert Kubectl().namespace() == "default"


def test_no_json_is_named(known):
    known("echo what")
    with pytest.raises(UnavailableError, match="answered no JSON: 'what"):
        Kubectl().json("get", "pods")


@pytest.mark.parametrize(("body", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143)])
def test_the_exit_status_is_passed_on(known, body, status):
    known(body)
    assert pass_through(["get", "pods"]) == status


def test_the_program_s_own_streams_are_used(known, capfd):
    known('echo "out $@"; echo err >&2')
    assert pass_through(["get", "-o", "wide"]) == 0
    told = capfd.readouterr()
    assert (told.out, told.err) == ("out get -o wide\n", "err\n")
