"""The baseline's manifests in pods, applied and deleted as in docs/how-to/run-the-baseline.md."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from polling import wait_until
from shell_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
APS = ROOT / "workflows" / "aps"
CHARONCTL = ROOT / "charonctl"
CONSUMER, MIRROR, DETECTOR = (
    f"workflows/aps/baseline-pvapy-{name}.yaml" for name in ("ptychonn", "mirror-server", "sim-server")
)
CONSUMERS = "app.kubernetes.io/name=baseline-pvapy-ptychonn"
READER = (Path(__file__).parent / "in_pod/read_ids.py").read_text()
pytestmark = pytest.mark.timeout(300)


class Baseline:
    """The baseline in a namespace."""

    def __init__(self, cluster, namespace, folder):
        self.cluster, self.namespace, self._folder = cluster, namespace, folder
        kubeconfig = folder / "kubeconfig"
        shutil.copyfile(cluster.kubeconfig, kubeconfig)
        kubeconfig.chmod(0o600)
        self.environment = {
            **cluster.environment,
            "HOME": str(folder),
            "XDG_STATE_HOME": str(folder / "state"),
            "KUBECONFIG": str(kubeconfig),
            "TERM": "xterm-256color",
        }
        command = [cluster.kubectl, "config", "set-context", "--current", f"--namespace={namespace}"]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def charonctl(self, *arguments):
        """Run charonctl and return its output."""
        done = subprocess.run(
            [CHARONCTL, *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments):
        """Run kubectl in the namespace; the caller checks its exit status."""
        return self.cluster.run(*arguments, "-n", self.namespace)

    def detect(self, *options):
        """Start the detector with other options than those of the manifest."""
        folder = self._folder / "detector"
        folder.mkdir()
        shutil.copy(ROOT / DETECTOR, folder)
        path = "/spec/containers/0/args/-"
        patch = json.dumps([{"op": "add", "path": path, "value": option} for option in options])
        document = {
            "resources": [Path(DETECTOR).name],
            "patches": [{"target": {"kind": "Pod"}, "patch": patch}],
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))
        self.charonctl("kubectl", "apply", "-k", str(folder))

    def apply_variant(self, suffix, change):
        """Apply a copy of the consumer's Deployment with another name and a changed container."""
        deployment = list(yaml.safe_load_all((ROOT / CONSUMER).read_text()))[-1]
        name = f"consumer-{suffix}"
        deployment["metadata"]["name"] = name
        labels = {"app.kubernetes.io/name": name}
        deployment["spec"]["selector"]["matchLabels"] = labels
        deployment["spec"]["template"]["metadata"]["labels"] = labels
        change(deployment["spec"]["template"]["spec"]["containers"][0])
        self.cluster.apply(deployment, namespace=self.namespace)

    def wait_for_consumers(self, replicas):
        """Wait until all consumers are ready, and return the names of their pods."""
        self.cluster.call(
            "rollout",
            "status",
            "deployment/baseline-pvapy-ptychonn",
            "--timeout=90s",
            "-n",
            self.namespace,
            timeout=120,
        )
        wait_until(lambda: len(self.consumers()) == replicas, 60)
        return [pod["metadata"]["name"] for pod in self.consumers()]

    def consumers(self):
        """Return the pods of the consumers that are not being deleted."""
        pods = self.cluster.get("pod", "-l", CONSUMERS, "-n", self.namespace)["items"]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def read_results(self, name, *servers):
        """Start a pod that reads the results of consumers."""
        container = {
            "name": "main",
            "image": "charon:latest",
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", 'printf %s "$CODE" > /tmp/read_ids.py; exec python3 /tmp/read_ids.py "$@"', "sh"],
            "args": ["ad:phase", *servers],
            "env": [
                {"name": "CODE", "value": READER},
                {"name": "EPICS_PVA_AUTO_ADDR_LIST", "value": "NO"},
            ],
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.cluster.apply(pod, namespace=self.namespace)

    def results(self, name):
        """Return the ids that a pod has read, by server."""
        ids: dict[str, list[int]] = {}
        # pvAccess writes messages to the log. The initial value of a channel has the id 0.
        for server, unique_id in re.findall(r"^(\S+) ([1-9]\d*)$", self.kubectl("logs", name).stdout, re.MULTILINE):
            ids.setdefault(server, []).append(int(unique_id))
        return ids

    def metrics(self, pod):
        """Return the metrics of a consumer by name, and the reason of rejected frames."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9100/proxy/metrics"
        page = self.cluster.run("get", "--raw", path).stdout
        found = re.findall(r'^pvapy_frame_(\w+)\{consumer="1"(?:,reason="(\S+)")?\} (\S+)$', page, re.MULTILINE)
        return {reason or name.removesuffix("_total"): float(value) for name, reason, value in found}

    def wait_for_metrics(self, pod, condition, timeout_s=60):
        """Wait until the metrics of a consumer fulfil a condition, and return them."""
        latest = {}

        def fulfilled():
            latest.clear()
            latest.update(self.metrics(pod))
            return latest and condition(latest)

        wait_until(fulfilled, timeout_s)
        return latest


@pytest.fixture
def baseline(cluster, namespace, tmp_path):
    """Return the baseline in the test's namespace."""
    return Baseline(cluster, namespace, tmp_path)


def last_line(baseline, deployment):
    """Return the last line of a pod's log, or of the error of reading it."""
    done = baseline.kubectl("logs", f"deployment/{deployment}")
    return (done.stdout or done.stderr).strip().rpartition("\n")[2]


def assert_restricted(pod):
    """Check that a running pod is restricted like the vertices of the pipeline, and uses their image."""
    spec = pod["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert spec["automountServiceAccountToken"] is False
    (container,) = spec["containers"]
    assert container["image"] == "charon:latest"
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def assert_selected_by_monitor(pod):
    """Check that Prometheus scrapes port 9100 of a pod."""
    template = (ROOT / "ansible/roles/monitors/templates/monitors.yaml.j2").read_text()
    monitors = yaml.safe_load_all(re.sub(r"\{\{.*?\}\}", "value", template))
    monitor = next(document["spec"] for document in monitors if document["metadata"]["name"] == "workload")
    assert monitor["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    ports = {port["name"]: port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert [ports[endpoint["port"]] for endpoint in monitor["podMetricsEndpoints"]] == [9100]


def test_guide_commands_run_the_baseline(baseline):
    """The manifests are unchanged: 100 frames/s, until the detector is deleted."""

    def without_bundle(container):
        container["args"] = [argument.replace("ptychonn2-sim", "missing") for argument in container["args"]]

    baseline.apply_variant("without-bundle", without_bundle)
    baseline.apply_variant("without-image", lambda c: c.update(image="127.0.0.1:1/charon:missing"))
    baseline.apply_variant("without-address", lambda c: c["env"][0].update(value="missing"))
    applied = baseline.charonctl("kubectl", "apply", "-f", CONSUMER)
    assert "deployment.apps/baseline-pvapy-ptychonn created" in applied
    (pod,) = baseline.wait_for_consumers(1)
    waiting = "channel ad:image:mirror is unavailable; waiting until the mirror server and the detector run"
    wait_until(lambda: last_line(baseline, "baseline-pvapy-ptychonn").endswith(waiting), 30)
    unresolved = "EPICS_PVA_ADDR_LIST: cannot resolve missing; retrying"
    wait_until(lambda: last_line(baseline, "consumer-without-address").endswith(unresolved), 30)
    missing = "error: model bundle 'missing' not found; use a folder or one of "
    wait_until(lambda: last_line(baseline, "consumer-without-bundle").startswith(missing), 30)
    pull = "is waiting to start: trying and failing to pull image"
    wait_until(lambda: last_line(baseline, "consumer-without-image").endswith(pull), 30)
    # The node has two cores, which the requests of further pods would exceed.
    variants = [f"consumer-without-{part}" for part in ("bundle", "image", "address")]
    baseline.kubectl("delete", "deployment", *variants, "--wait=false")

    baseline.charonctl("kubectl", "apply", "-f", MIRROR)
    baseline.charonctl("kubectl", "apply", "-f", DETECTOR)
    baseline.read_results("reader", "baseline-phase")
    counted = baseline.wait_for_metrics(pod, lambda m: m["processed"] >= 100 and m["processingrate"] > 0)
    assert counted["received"] - counted["processed"] <= counted["queued"] + 8, "a batch is being inferred"
    assert counted["latency_seconds_count"] == counted["processed"]
    assert counted.keys() >= {"missed", "duplicates", "clock_disagreements"}
    selector = "app.kubernetes.io/part-of=charon"
    running = baseline.cluster.get("pod", "-l", selector, "-n", baseline.namespace)["items"]
    assert len(running) == 3
    for each in running:
        assert_restricted(each)
    wait_until(lambda: baseline.results("reader").get("baseline-phase"), 60)

    assert_selected_by_monitor(*baseline.consumers())

    baseline.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    (replacement,) = baseline.wait_for_consumers(1)
    assert replacement != pod
    baseline.wait_for_metrics(replacement, lambda m: m["processingrate"] > 0)

    baseline.kubectl("delete", "pod", "reader")
    shell = Terminal(baseline.environment, ROOT, [str(CHARONCTL)])
    try:
        shell.prompt(60)
        for manifest in (CONSUMER, MIRROR, DETECTOR):
            assert "deleted" in shell.run(f"kubectl delete -f {manifest}")
        wait_until(lambda: "No resources found" in shell.run("kubectl get deployment,service,replicaset,pod"), 60)
    finally:
        shell.close()


def test_replicas_share_the_frames(baseline):
    for manifest in (CONSUMER, MIRROR):
        baseline.charonctl("kubectl", "apply", "-f", manifest)
    (first,) = baseline.wait_for_consumers(1)
    baseline.detect("--frame-rate=25", "--sample=noise", "--drop=30-32", "--bad=truncated@40")
    alone = baseline.wait_for_metrics(first, lambda m: m["processed"] >= 60)
    assert (alone["missed"], alone["truncated"]) == (3, 1)

    baseline.charonctl("kubectl", "scale", "deployment/baseline-pvapy-ptychonn", "--replicas=2")
    (second,) = {*baseline.wait_for_consumers(2)} - {first}
    addresses = [pod["status"]["podIP"] for pod in baseline.consumers()]
    baseline.read_results("reader", *addresses)
    wait_until(lambda: [len(ids) > 50 for ids in baseline.results("reader").values()] == [True, True], 120)
    baseline.charonctl("kubectl", "delete", "-f", DETECTOR)

    states = []

    def at_rest():
        counted = [baseline.metrics(pod) for pod in (first, second)]
        states.append((counted, baseline.results("reader")))
        return states[-2:-1] == states[-1:]

    wait_until(at_rest, 60, interval_s=2)
    counted, results = states[-1]
    published = max(ids[-1] for ids in results.values())
    # The second consumer received the current frame when it subscribed, which the first one had already received.
    repeated = sum(m["processed"] for m in counted) - (published - 4)
    assert repeated in {0, 1}
    received = sum(m["received"] for m in counted) - repeated
    # As in docs/how-to/run-the-baseline.md; the last frame belongs to one of the consumers.
    assert max(m["received"] + m["missed"] for m in counted) - received in {2, 3}
    # Both readers were connected from this frame.
    start = max(ids[0] for ids in results.values())
    ids = sorted(i for read in results.values() for i in read if i >= start)
    assert ids == list(range(start, published + 1)), "each frame is processed once"
