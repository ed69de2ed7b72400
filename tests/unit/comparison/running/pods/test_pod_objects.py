"""Objects of a cell in pods."""

import json

import click
import pytest
from comparison_data import a_condition

from charon.cli.main import cli
from charon.comparison.model import EngineSetting
from charon.comparison.running.pods.objects import FRAME_LOG, baseline_objects
from charon.errors import UsageError

CONDITION = a_condition(
    engine="baseline-pods", replicas=3, setting=EngineSetting(batch=4, threads=2, queue_size=300), shape=(512, 512)
)


def deployment(objects):
    (found,) = [o for o in objects.consumers if o["kind"] == "Deployment"]
    return found


def test_consumers_have_setting_and_frame_log():
    found = deployment(baseline_objects(CONDITION, 7, client_delay_s=2.0))
    assert found["spec"]["replicas"] == 3
    args = found["spec"]["template"]["spec"]["containers"][0]["args"]
    (processor,) = [json.loads(a.partition("=")[2]) for a in args if a.startswith("--processor-args=")]
    assert (processor["max_batch"], processor["threads"], processor["queue_size"]) == (4, 2, 300)
    assert (processor["model"], processor["shared"], processor["log"]) == ("ptychonn2-sim", True, FRAME_LOG)
    assert processor["metrics_port"] == 9100, "the other arguments are those of the manifest"
    assert "--receiver-queue-size=300" in args
    assert "--distributor-group=charon" in args


def test_one_consumer_counts_missed_frames():
    found = deployment(baseline_objects(a_condition(engine="baseline-pods"), 0, client_delay_s=2.0))
    args = found["spec"]["template"]["spec"]["containers"][0]["args"]
    assert '"shared": false' in next(a for a in args if a.startswith("--processor-args="))


def test_detector_has_the_load_of_the_cell():
    (detector,) = baseline_objects(CONDITION, 7, client_delay_s=2.0).detector
    (container,) = detector["spec"]["containers"]
    assert container["command"] == ["charonctl", "detector"]
    args = container["args"]
    options = dict(zip(args[2::2], args[3::2], strict=True))
    assert args[:2] == ["--wait-for-client", "--prepare-all"]
    assert (options["--frame-rate"], options["--n-frames"], options["--seed"]) == ("50.0", "250", "7")
    assert (options["--n-x-pixels"], options["--client-delay"]) == ("512", "2.0")
    assert options["--report"] == "/dev/termination-log"
    command = cli.get_command(click.Context(cli), "detector")
    assert command is not None
    command.make_context("detector", list(args))


def test_services_exist_before_their_clients():
    objects = baseline_objects(CONDITION, 0, client_delay_s=2.0)
    services = {o["metadata"]["name"] for o in objects.consumers if o["kind"] == "Service"}
    assert services == {"baseline-detector", "baseline-mirror", "baseline-phase"}
    assert [o["kind"] for o in objects.mirror] == ["Deployment"]
    assert objects.names[0] == "Pod/baseline-pvapy-sim-server"
    assert len(objects.names) == 6


def test_stitching_is_refused():
    with pytest.raises(UsageError, match="no stitching consumer"):
        baseline_objects(a_condition(engine="baseline-pods", stitch=True), 0, client_delay_s=2.0)
