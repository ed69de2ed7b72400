"""A failure of the supervision ends the run."""

from __future__ import annotations

import asyncio

import pytest

from charon.engines.embedded import EngineError
from charon.engines.embedded.supervision import SupervisedBuffers, SupervisedProcess, Supervision


class FakeBuffers(SupervisedBuffers):
    """Buffers whose supervision or disk monitor has a defect."""

    def __init__(self, defect):
        self.failure = None
        self._defect = defect

    async def supervise(self):
        """Return, or fail."""
        if self._defect == "supervise":
            raise TypeError("defect")

    async def monitor_disk(self):
        """Wait, or fail."""
        if self._defect == "monitor_disk":
            raise TypeError("defect")
        await asyncio.Event().wait()


@pytest.mark.parametrize("defect", ["supervise", "monitor_disk"])
def test_defect_in_supervision_fails_the_run(caplog, defect):
    async def main():
        supervision = Supervision()
        supervision.start([], FakeBuffers(defect), monitor_disk=True)
        while supervision.failure is None:  # noqa: ASYNC110 - a state without an event
            await asyncio.sleep(0.01)
        with pytest.raises(EngineError, match=r"TypeError\('defect'\)"):
            supervision.raise_failure()
        await supervision.stop()

    asyncio.run(asyncio.wait_for(main(), 10))
    assert "the supervision of the run failed" in caplog.text


def test_failure_of_a_process_is_reported():
    class FailedProcess(SupervisedProcess):
        failure = "cat.0 exited with status 2: error: no model"

        def supervise(self):
            return "cat.0 exited"

    async def main():
        supervision = Supervision()
        supervision.start([FailedProcess()], FakeBuffers(None), monitor_disk=False)
        await asyncio.sleep(0.2)
        await supervision.stop()
        assert supervision.failure == FailedProcess.failure
        assert supervision.messages[0] == "cat.0 exited"

    asyncio.run(main())
