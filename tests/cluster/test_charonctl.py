"""charonctl on a cluster; the tests act as Numaflow's controller."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
import threading
from pathlib import Path

import pexpect
import pytest
import yaml
from nats.js.api import AckPolicy, ConsumerConfig, StreamConfig
from numaflow_objects import (
    GROUP,
    nats_pod,
    numaflow_kinds,
    pipeline_of,
    set_status,
    sleeping,
    vertex_pod,
)
from polling import wait_until

from charon.adapters.kubernetes import Kubectl, PortForward
from charon.adapters.nats import NatsConnection
from charon.ledger.book import LedgerBook
from charon.ledger.pages import SinkPage, SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import SinkReport
from charon.ledger.states import VertexState
from charon.settings.nats import NatsAddress
from charon.settings.vertex import ledger_bucket

# A call can last seconds on a node with two cores and other tests running.
pytestmark = pytest.mark.timeout(400)
APS = Path(__file__).resolve().parents[2] / "workflows" / "aps"
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]


@pytest.fixture(autouse=True, scope="module")
def _numaflow_kinds(cluster):
    with numaflow_kinds(cluster):
        yield


@pytest.fixture
def state(tmp_path):
    """Return the folder of the records of runs."""
    return tmp_path / "state"


@pytest.fixture
def charonctl(cluster, state):
    """Return a function that runs charonctl as from a system shell."""

    def call(*arguments, timeout=150, **environment):
        return subprocess.run(
            [*CHARONCTL, *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**cluster.environment, "XDG_STATE_HOME": str(state), **environment},
            check=False,
        )

    return call


def records_in(state):
    return [json.loads(path.read_text()) for path in sorted(state.glob("charon/runs/*/*.json"))]


def write(tmp_path, *documents):
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_run_reports_why_each_vertex_is_not_running(cluster, namespace, charonctl, tmp_path):
    vertices = ["in", "nowhere", "loop", "nonode", "novolume", "nosecret", "out"]
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "results"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "no-such-class",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        },
        vertex_pod("p", "in", sleeping()),
        vertex_pod("p", "nowhere", {"image": "127.0.0.1:1/charon:nowhere"}),
        vertex_pod("p", "loop", {"command": ["sh", "-c", "echo loading >&2; echo the model is damaged >&2; exit 3"]}),
        vertex_pod("p", "nonode", sleeping(), nodeSelector={"colour": "blue"}),
        vertex_pod(
            "p", "novolume", sleeping(), volumes=[{"name": "d", "persistentVolumeClaim": {"claimName": "results"}}]
        ),
        vertex_pod(
            "p",
            "nosecret",
            {**sleeping(), "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "a"}}}]},
        ),
        vertex_pod("p", "out", sleeping()),
        vertex_pod("p", "daemon", sleeping()),
        namespace=namespace,
    )
    path = write(tmp_path, pipeline_of("p", vertices))

    done = charonctl("run", str(path), "-n", namespace, "--timeout", "120")

    assert done.returncode == 1
    error = done.stderr.partition("error: ")[2]
    reasons = {}
    for line in error.splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            name, _, text = line.strip().partition(": ")
            reasons[name] = text
    assert error.startswith("p is not running\n"), "a stuck pod shortens the wait"
    assert "cannot pull image 127.0.0.1:1/charon:nowhere" in reasons["nowhere"]
    assert "refused" in reasons["nowhere"]
    assert reasons["loop"].startswith("container main exited with status 3, restarted ")
    assert "      loading\n      the model is damaged" in error
    assert "cannot be scheduled" in reasons["nonode"]
    assert "affinity/selector" in reasons["nonode"]
    assert "claim results is pending, storage class no-such-class" in reasons["novolume"]
    assert 'secret "gone" not found' in reasons["nosecret"]
    assert not {"in", "out", "daemon"} & set(reasons)
    assert "in: running (1 of 1)" in done.stderr

    state = charonctl("status", "p", namespace, "--json")
    assert state.returncode == 0, state.stderr
    view = json.loads(state.stdout)["cluster"]
    assert {v["name"]: [p["reason"] and p["reason"]["kind"] for p in v["pods"]] for v in view["vertices"]} == {
        "in": [None],
        "nowhere": ["image"],
        "loop": ["crash"],
        "nonode": ["unschedulable"],
        "novolume": ["volume"],
        "nosecret": ["configuration"],
        "out": [None],
    }
    assert not view["runs"]


def test_run_waits_until_running_and_records_it(cluster, namespace, charonctl, state):
    done = {}

    def run():
        done["run"] = charonctl("run", str(APS / "numaflow-aps.yaml"), "-n", namespace)

    running = threading.Thread(target=run)
    running.start()
    wait_until(lambda: not cluster.run("get", f"pipelines.{GROUP}", "ptychography", "-n", namespace).returncode, 60)
    cluster.apply(
        *[vertex_pod("ptychography", name, sleeping()) for name in ("in", "cat", "out", "daemon")], namespace=namespace
    )
    running.join(150)

    assert done["run"].returncode == 0, done["run"].stderr
    assert "pipeline.numaflow.numaproj.io/ptychography created" in done["run"].stdout
    assert f"ptychography runs in namespace {namespace}: 3 vertices, 3 pods" in done["run"].stdout
    assert "cat: running (1 of 1)" in done["run"].stderr
    (record,) = records_in(state)
    assert (record["name"], record["namespace"], record["engine"]) == ("ptychography", namespace, "numaflow")
    assert record["end"] is None
    applied = cluster.get(f"pipelines.{GROUP}", "ptychography", "-n", namespace)
    manifests = [d for d in yaml.safe_load_all((APS / "numaflow-aps.yaml").read_text()) if d["kind"] == "Pipeline"]
    assert applied["spec"] == manifests[0]["spec"]


def test_run_names_missing_controller_and_buffer(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    no_controller = charonctl("run", str(path), "-n", namespace, "--timeout", "3")
    assert no_controller.returncode == 1
    assert "is the Numaflow controller running?" in no_controller.stderr
    assert "in: has no pod yet" in no_controller.stderr

    set_status(cluster, namespace, "p", phase="Failed", message="isbsvc default not found")
    no_buffer = charonctl("run", str(path), "-n", namespace, "--timeout", "3")
    assert no_buffer.returncode == 1
    assert "no inter-step buffer service 'default'" in no_buffer.stderr
    assert "jetstream.yaml" in no_buffer.stderr

    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    assert len(records_in(state)) == 3
    assert charonctl("run", str(path), "-n", namespace, "--dry-run=server").returncode == 0
    assert len(records_in(state)) == 3, "a dry run is not recorded"
    stopped = charonctl("stop", "p", namespace)
    assert stopped.returncode == 0, "a pipeline whose setup failed has nothing to drain"
    assert "draining the buffers" not in stopped.stderr


def controller(cluster, namespace, *, drained):
    """Pause a pipeline on request, as Numaflow's controller does; return the thread and the requested lifecycle."""
    lifecycle = {}

    def pause_requested():
        spec = cluster.get(f"pipelines.{GROUP}", "p", "-n", namespace)["spec"]
        lifecycle.update(spec.get("lifecycle", {}))
        return lifecycle.get("desiredPhase") == "Paused"

    def act():
        wait_until(pause_requested, 60)
        set_status(cluster, namespace, "p", phase="Paused", drainedOnPause=drained)

    thread = threading.Thread(target=act)
    thread.start()
    return thread, lifecycle


def test_stop_drains_deletes_and_records_the_end(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    set_status(cluster, namespace, "p", phase="Running")
    thread, lifecycle = controller(cluster, namespace, drained=True)

    done = charonctl("stop", "p", namespace, "--timeout", "77")

    thread.join()
    assert done.returncode == 0, done.stderr
    assert lifecycle == {"desiredPhase": "Paused", "pauseGracePeriodSeconds": 77}
    assert "has ended" in done.stdout
    assert cluster.run("get", f"pipelines.{GROUP}", "p", "-n", namespace).returncode
    (record,) = records_in(state)
    assert record["end"] is not None
    again = charonctl("stop", "p", namespace)
    hint = f"list them with: charonctl kubectl get pipelines -n {namespace}"
    assert (again.returncode, again.stderr) == (2, f"error: no pipeline 'p' in namespace {namespace}; {hint}\n")


def test_undrained_pipeline_is_kept_without_no_drain(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    set_status(cluster, namespace, "p", phase="Running")
    thread, _ = controller(cluster, namespace, drained=False)

    done = charonctl("stop", "p", namespace, "--timeout", "5")

    thread.join()
    assert done.returncode == 1
    assert "its buffers are not empty" in done.stderr
    assert records_in(state)[0]["end"] is None
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    spec = cluster.get(f"pipelines.{GROUP}", "p", "-n", namespace)["spec"]
    assert spec["lifecycle"]["desiredPhase"] == "Running", "run resumes a paused pipeline"
    assert charonctl("stop", "p", namespace, "--no-drain").returncode == 0
    assert cluster.run("get", f"pipelines.{GROUP}", "p", "-n", namespace).returncode


def page(kind, **states):
    book = LedgerBook()
    for state, count in states.items():
        for number in range(1, count + 1):
            book.add("ad:image", 7, "scan-1", state, number)
    process = ProcessStats(state=VertexState.RUNNING, counts={"done": max(states.values())})
    if kind == "source":
        return SourcePage(process=process, entries=book.entries()).to_json()
    return SinkPage(process=process, report=SinkReport(entries=book.entries())).to_json()


def test_status_reads_the_account_from_the_ledger(cluster, namespace, charonctl, tmp_path, monkeypatch):
    credentials = {"user": secrets.token_hex(8), "password": secrets.token_hex(16)}
    pods = [vertex_pod("p", name, sleeping()) for name in ("in", "out", "daemon")]
    cluster.apply(*nats_pod(credentials), *pods, namespace=namespace)
    cluster.apply(pipeline_of("p", ["in", "out"]), namespace=namespace)
    cluster.call("wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s", "-n", namespace, timeout=120)
    set_status(cluster, namespace, "p", phase="Running")

    empty = charonctl("status", "p", namespace)
    assert "no vertex has written a page yet" in empty.stdout, empty.stderr

    async def fill(port):
        address = NatsAddress(port=port, user=credentials["user"], password=credentials["password"])
        connection = await NatsConnection.connect(
            address, "test", reconnect=False, bucket=ledger_bucket(namespace, "p")
        )
        await connection.ledger.create("memory")
        await connection.ledger.save("in.0", page("source", seen=100, accepted=98))
        await connection.ledger.save("out.0", page("sink", reconstructed=90))
        # A buffer as Numaflow creates it: stream, subject and consumer have the same name.
        buffer = f"{namespace}-p-out-0"
        await connection.client.jetstream().add_stream(StreamConfig(name=buffer, subjects=[buffer]))
        await connection.client.jetstream().add_consumer(
            buffer, ConsumerConfig(durable_name=buffer, ack_policy=AckPolicy.EXPLICIT)
        )
        for _ in range(8):
            await connection.client.publish(buffer, b"patch")
        await connection.close()

    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    with PortForward(Kubectl(), namespace, "service/isbsvc-default-js-svc", 4222) as forward:
        asyncio.run(fill(forward.port))

    as_json = charonctl("status", "p", namespace, "--json")
    assert as_json.returncode == 0, as_json.stderr
    account = json.loads(as_json.stdout)["account"]
    assert (account["published"], account["accepted"], account["reconstructed"]) == (100, 98, 90)
    assert (account["in_flight"], account["lost"]) == (10, 0)
    shown = charonctl("status", "p", namespace).stdout
    assert f"p  namespace {namespace}  Running" in shown
    assert "in: 1 of 1 replicas ready, 100 frames\n" in shown
    assert "out: 1 of 1 replicas ready, 90 frames, backlog 8\n" in shown
    assert "published 100" in shown
    for secret in credentials.values():
        assert secret not in as_json.stdout + as_json.stderr + shown

    cluster.call("delete", "pod", "isbsvc-default-js-0", "-n", namespace)
    unavailable = charonctl("status", "p", namespace)
    assert unavailable.returncode == 0
    assert "account: unavailable: cannot connect to service/isbsvc-default-js-svc" in unavailable.stdout
    assert "in: 1 of 1 replicas ready" in unavailable.stdout


def test_kubectl_passes_arguments_output_and_status(cluster, namespace, charonctl):
    existing = charonctl("kubectl", "get", "namespace", namespace, "-o", "jsonpath={.metadata.name}")
    assert (existing.returncode, existing.stdout) == (0, namespace)
    missing = charonctl("kubectl", "get", "pod", "nothing", "-n", namespace)
    assert missing.returncode == 1
    assert 'pods "nothing" not found' in missing.stderr
    help_page = charonctl("kubectl", "get", "--help", KUBECONFIG="/nowhere")
    assert "Display one or many resources" in help_page.stdout
    no_config = charonctl("kubectl", "get", "pods", KUBECONFIG="/nowhere/config")
    assert no_config.returncode == 2
    assert (
        no_config.stderr
        == "error: no cluster: /nowhere/config (from KUBECONFIG) does not exist; correct or unset the variable\n"
    )


def test_kubectl_uses_the_terminal(cluster, namespace, state):
    pod = vertex_pod("p", "in", {"command": ["sh", "-c", "while :; do echo tick; sleep 0.2; done"]})
    name = pod["metadata"]["name"]
    cluster.apply(pod, namespace=namespace)
    cluster.call("wait", "pod", name, "--for=condition=Ready", "--timeout=60s", "-n", namespace, timeout=90)
    environment = {**cluster.environment, "XDG_STATE_HOME": str(state)}

    def spawn(*program):
        return pexpect.spawn(program[0], [*program[1:]], env=environment, timeout=20)

    inside = spawn(*CHARONCTL, "kubectl", "exec", "-n", namespace, "-it", name, "--", "sh")
    inside.sendline("test -t 0 && echo terminal-$((6*7))")
    inside.expect("terminal-42")
    inside.sendline("exit 5")
    inside.expect(pexpect.EOF)
    inside.close()
    assert inside.exitstatus == 5

    def interrupted(*program):
        follow = spawn(*program, "logs", "-n", namespace, "-f", name)
        follow.expect("tick")
        follow.sendintr()
        follow.expect(pexpect.EOF)
        follow.close()
        return 128 + follow.signalstatus if follow.signalstatus else follow.exitstatus

    assert interrupted(*CHARONCTL, "kubectl") == interrupted(cluster.kubectl) != 0


def test_denied_and_unreachable_are_one_line_errors(cluster, namespace, charonctl, tmp_path):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "limited"}}
    cluster.apply(account, namespace=namespace)
    config = json.loads(cluster.call("config", "view", "--raw", "--minify", "-o", "json"))
    token = cluster.call("create", "token", "limited", "-n", namespace).strip()
    config["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    denied = charonctl("run", str(path), "-n", namespace, KUBECONFIG=str(kubeconfig))
    assert denied.returncode == 1
    assert len(denied.stderr.splitlines()) == 1
    assert denied.stderr.startswith("error: permission denied by the cluster: ")
    assert ":limited" in denied.stderr

    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    kubeconfig.write_text(json.dumps(config))
    for command in (("status",), ("stop", "p", "default"), ("reclaim",), ("run", str(path))):
        unreachable = charonctl(*command, KUBECONFIG=str(kubeconfig))
        assert unreachable.returncode == 1, command
        assert len(unreachable.stderr.splitlines()) == 1
        assert unreachable.stderr.startswith("error: the cluster does not respond: "), unreachable.stderr
