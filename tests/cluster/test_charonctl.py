"""charonctl's commands on a real cluster; the test itself stands in for Numaflow's controller."""

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
from charon_pods import until
from nats.js.api import ConsumerConfig, StreamConfig
from numaflow_objects import (
    GROUP,
    kinds_known,
    nats_pod,
    pipeline_of,
    set_status,
    sleeping,
    vertex_pod,
)

from charon.adapters.kubernetes import Kubectl, PortForward
from charon.adapters.nats import NatsConnection
from charon.engines.numaflow.settings import bucket_of
from charon.ledger.book import LedgerBook
from charon.settings.nats import NatsAddress

# On a node of two cores, and beside other tests, a call takes seconds.
pytestmark = pytest.mark.timeout(400)
APS = Path(__file__).resolve().parents[2] / "workflows" / "aps"
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]


@pytest.fixture(autouse=True, scope="module")
def _kinds(cluster):
    with kinds_known(cluster):
        yield


@pytest.fixture
def state(tmp_path):
    """Give the folder in which runs are written down."""
    return tmp_path / "state"


@pytest.fixture
def charonctl(cluster, state):
    """Return a function that runs charonctl as from the system's shell."""

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


def test_run_says_of_each_vertex_why_it_does_not_run(cluster, namespace, charonctl, tmp_path):
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
        vertex_pod("p", "loop", {"command": ["sh", "-c", "echo loading; echo the model is damaged >&2; exit 3"]}),
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
    told = done.stderr.partition("error: ")[2]
    said = {}
    for line in told.splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            name, _, text = line.strip().partition(": ")
            said[name] = text
    assert told.startswith("p does not run\n"), "what waiting does not mend is not waited for to the end"
    assert "image 127.0.0.1:1/charon:nowhere cannot be pulled" in said["nowhere"]
    assert "refused" in said["nowhere"]
    assert said["loop"].startswith("container main ended with status 3, restarted ")
    assert "      loading\n      the model is damaged" in told
    assert "no node takes it" in said["nonode"]
    assert "affinity/selector" in said["nonode"]
    assert "claim results is pending, storage class no-such-class" in said["novolume"]
    assert 'secret "gone" not found' in said["nosecret"]
    assert not {"in", "out", "daemon"} & set(said)
    assert "in: runs (1 of 1)" in done.stderr

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


def test_run_waits_until_all_runs_and_writes_down_when(cluster, namespace, charonctl, state):
    done = {}

    def run():
        done["run"] = charonctl("run", str(APS / "numaflow-aps.yaml"), "-n", namespace)

    running = threading.Thread(target=run)
    running.start()
    until(lambda: not cluster.run("get", f"pipelines.{GROUP}", "ptychography", "-n", namespace).returncode, 60)
    cluster.apply(
        *[vertex_pod("ptychography", name, sleeping()) for name in ("in", "cat", "out", "daemon")], namespace=namespace
    )
    running.join(150)

    assert done["run"].returncode == 0, done["run"].stderr
    assert "pipeline.numaflow.numaproj.io/ptychography created" in done["run"].stdout
    assert f"ptychography runs in namespace {namespace}: 3 vertices, 3 pods" in done["run"].stdout
    assert "cat: runs (1 of 1)" in done["run"].stderr
    (record,) = records_in(state)
    assert (record["name"], record["namespace"], record["engine"]) == ("ptychography", namespace, "numaflow")
    assert record["end"] is None
    kept = cluster.get(f"pipelines.{GROUP}", "ptychography", "-n", namespace)
    given = [d for d in yaml.safe_load_all((APS / "numaflow-aps.yaml").read_text()) if d["kind"] == "Pipeline"]
    assert kept["spec"] == given[0]["spec"]


def test_run_names_what_is_missing_around_the_pipeline(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    alone = charonctl("run", str(path), "-n", namespace, "--timeout", "3")
    assert alone.returncode == 1
    assert "is the Numaflow controller running?" in alone.stderr
    assert "in: has no pod yet" in alone.stderr

    set_status(cluster, namespace, "p", phase="Failed", message="isbsvc default not found")
    without = charonctl("run", str(path), "-n", namespace, "--timeout", "3")
    assert without.returncode == 1
    assert "no inter-step buffer service 'default'" in without.stderr
    assert "jetstream.yaml" in without.stderr

    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    assert len(records_in(state)) == 3
    assert charonctl("run", str(path), "-n", namespace, "--dry-run=server").returncode == 0
    assert len(records_in(state)) == 3, "what was only tried is no run"
    ended = charonctl("stop", "p", namespace)
    assert ended.returncode == 0, "what was never set up holds nothing that could be drained"
    assert "what was accepted is finished" not in ended.stderr


def controller(cluster, namespace, *, drained):
    """Pause pipelines that are to be paused, as Numaflow's controller does; return what they were told."""
    found = {}

    def look():
        spec = cluster.get(f"pipelines.{GROUP}", "p", "-n", namespace)["spec"]
        found.update(spec.get("lifecycle", {}))
        return found.get("desiredPhase") == "Paused"

    def act():
        until(look, 60)
        set_status(cluster, namespace, "p", phase="Paused", drainedOnPause=drained)

    thread = threading.Thread(target=act)
    thread.start()
    return thread, found


def test_stop_drains_then_deletes_and_writes_down_when(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    set_status(cluster, namespace, "p", phase="Running")
    thread, told = controller(cluster, namespace, drained=True)

    done = charonctl("stop", "p", namespace, "--timeout", "77")

    thread.join()
    assert done.returncode == 0, done.stderr
    assert told == {"desiredPhase": "Paused", "pauseGracePeriodSeconds": 77}
    assert "has ended" in done.stdout
    assert cluster.run("get", f"pipelines.{GROUP}", "p", "-n", namespace).returncode
    (record,) = records_in(state)
    assert record["end"] is not None
    again = charonctl("stop", "p", namespace)
    assert (again.returncode, again.stderr) == (2, f"error: no pipeline 'p' in namespace {namespace}\n")


def test_a_pipeline_that_does_not_drain_is_kept_until_told_otherwise(cluster, namespace, charonctl, tmp_path, state):
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    set_status(cluster, namespace, "p", phase="Running")
    thread, _ = controller(cluster, namespace, drained=False)

    done = charonctl("stop", "p", namespace, "--timeout", "5")

    thread.join()
    assert done.returncode == 1
    assert "its buffers keep what is left" in done.stderr
    assert records_in(state)[0]["end"] is None
    assert charonctl("run", str(path), "-n", namespace, "--no-wait").returncode == 0
    spec = cluster.get(f"pipelines.{GROUP}", "p", "-n", namespace)["spec"]
    assert spec["lifecycle"]["desiredPhase"] == "Running", "a paused pipeline that is run goes on"
    assert charonctl("stop", "p", namespace, "--no-drain").returncode == 0
    assert cluster.run("get", f"pipelines.{GROUP}", "p", "-n", namespace).returncode


def page(kind, vertex, **states):
    book = LedgerBook()
    for state, count in states.items():
        for number in range(1, count + 1):
            book.add("ad:image", 7, "scan-1", state, number)
    return {
        "kind": kind,
        "vertex": vertex,
        "state": "running",
        "counts": {"done": max(states.values())},
        "ledger": book.to_json(),
    }


def test_status_gives_the_account_that_lies_beside_the_buffers(cluster, namespace, charonctl, tmp_path, monkeypatch):
    opening = {"user": secrets.token_hex(8), "password": secrets.token_hex(16)}
    pods = [vertex_pod("p", name, sleeping()) for name in ("in", "out", "daemon")]
    cluster.apply(*nats_pod(opening), *pods, namespace=namespace)
    cluster.apply(pipeline_of("p", ["in", "out"]), namespace=namespace)
    cluster.ask("wait", "pod", "--all", "--for=condition=Ready", "--timeout=90s", "-n", namespace, timeout=120)
    set_status(cluster, namespace, "p", phase="Running")

    empty = charonctl("status", "p", namespace)
    assert "no vertex has written a page yet" in empty.stdout, empty.stderr

    async def fill(port):
        address = NatsAddress(port=port, user=opening["user"], password=opening["password"])
        bus = await NatsConnection.connect(address, "test", reconnect=False, bucket=bucket_of(namespace, "p"))
        await bus.ledger.create("memory")
        await bus.ledger.save("in.0", page("source", "in", seen=100, accepted=98))
        await bus.ledger.save("out.0", page("sink", "out", reconstructed=90))
        # A buffer as Numaflow makes it: stream, subject and consumer have its name.
        buffer = f"{namespace}-p-out-0"
        await bus.client.jetstream().add_stream(StreamConfig(name=buffer, subjects=[buffer]))
        await bus.client.jetstream().add_consumer(buffer, ConsumerConfig(durable_name=buffer, ack_policy="explicit"))
        for _ in range(8):
            await bus.client.publish(buffer, b"patch")
        await bus.close()

    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("PATH", cluster.environment["PATH"])
    with PortForward(Kubectl(), namespace, "service/isbsvc-default-js-svc", 4222) as forward:
        asyncio.run(fill(forward.port))

    told = charonctl("status", "p", namespace, "--json")
    assert told.returncode == 0, told.stderr
    account = json.loads(told.stdout)["account"]
    assert (account["published"], account["accepted"], account["reconstructed"]) == (100, 98, 90)
    assert (account["in_flight"], account["lost"]) == (10, 0)
    shown = charonctl("status", "p", namespace).stdout
    assert f"p  namespace {namespace}  Running" in shown
    assert "in: 1 of 1 replicas ready, 100 frames\n" in shown
    assert "out: 1 of 1 replicas ready, 90 frames, 8 waiting\n" in shown
    assert "published 100" in shown
    for secret in opening.values():
        assert secret not in told.stdout + told.stderr + shown

    cluster.ask("delete", "pod", "isbsvc-default-js-0", "-n", namespace)
    away = charonctl("status", "p", namespace)
    assert away.returncode == 0
    assert "account: unavailable: cannot connect to service/isbsvc-default-js-svc" in away.stdout
    assert "in: 1 of 1 replicas ready" in away.stdout


def test_kubectl_keeps_its_arguments_its_output_and_its_status(cluster, namespace, charonctl):
    asked = charonctl("kubectl", "get", "namespace", namespace, "-o", "jsonpath={.metadata.name}")
    assert (asked.returncode, asked.stdout) == (0, namespace)
    refused = charonctl("kubectl", "get", "pod", "nothing", "-n", namespace)
    assert refused.returncode == 1
    assert 'pods "nothing" not found' in refused.stderr
    helped = charonctl("kubectl", "get", "--help", KUBECONFIG="/nowhere")
    assert "Display one or many resources" in helped.stdout
    nowhere = charonctl("kubectl", "get", "pods", KUBECONFIG="/nowhere/config")
    assert nowhere.returncode == 2
    assert nowhere.stderr == "error: no cluster: KUBECONFIG names /nowhere/config, which does not exist\n"


def test_kubectl_keeps_the_terminal(cluster, namespace, state):
    pod = vertex_pod("p", "in", {"command": ["sh", "-c", "while :; do echo tick; sleep 0.2; done"]})
    name = pod["metadata"]["name"]
    cluster.apply(pod, namespace=namespace)
    cluster.ask("wait", "pod", name, "--for=condition=Ready", "--timeout=60s", "-n", namespace, timeout=90)
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


def test_no_permission_and_no_answer_are_one_line(cluster, namespace, charonctl, tmp_path):
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    cluster.apply(account, namespace=namespace)
    config = json.loads(cluster.ask("config", "view", "--raw", "--minify", "-o", "json"))
    token = cluster.ask("create", "token", "nobody", "-n", namespace).strip()
    config["users"][0]["user"] = {"token": token}
    weak = tmp_path / "weak"
    weak.write_text(json.dumps(config))
    path = write(tmp_path, pipeline_of("p", ["in", "out"]))
    refused = charonctl("run", str(path), "-n", namespace, KUBECONFIG=str(weak))
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 1
    assert refused.stderr.startswith("error: permission denied by the cluster: ")
    assert ":nobody" in refused.stderr

    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    weak.write_text(json.dumps(config))
    for command in (("status",), ("stop", "p", "default"), ("reclaim",), ("run", str(path))):
        away = charonctl(*command, KUBECONFIG=str(weak))
        assert away.returncode == 1, command
        assert len(away.stderr.splitlines()) == 1
        assert away.stderr.startswith("error: the cluster does not respond: "), away.stderr
