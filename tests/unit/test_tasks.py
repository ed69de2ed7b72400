"""A task group raises its first failure and logs the others."""

from __future__ import annotations

import asyncio
import logging
import traceback

import pytest

from charon.tasks import task_group


async def _fail(error, delay_s=0.0):
    await asyncio.sleep(delay_s)
    raise error


def _run(*errors, body=None):
    async def main():
        async with task_group() as tasks:
            for error in errors:
                tasks.create_task(_fail(error))
            if body is not None:
                raise body
            await asyncio.sleep(20)

    asyncio.run(main())


def test_first_failure_is_raised_with_its_cause():
    error = ValueError("no space")
    error.__cause__ = OSError("disk")
    with pytest.raises(ValueError, match="no space") as caught:
        _run(error)
    assert caught.value is error
    assert isinstance(caught.value.__cause__, OSError)
    assert "CancelledError" not in "".join(traceback.format_exception(caught.value))


def test_further_failures_are_logged(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="first"):
        _run(ValueError("first"), TypeError("second"))
    (record,) = caplog.records
    assert "second" in record.getMessage()
    assert record.exc_info is not None


def test_repeated_failure_is_not_logged(caplog):
    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="syntax"):
        _run(ValueError("syntax"), ValueError("syntax"))
    assert not caplog.records


def test_failure_of_the_block_is_raised_once(caplog):
    error = ValueError("body")
    with pytest.raises(ValueError, match="body") as caught:
        _run(body=error)
    assert caught.value is error
    assert not caplog.records


def test_nested_groups_are_flattened(caplog):
    async def main():
        async with task_group(), asyncio.TaskGroup() as inner:
            inner.create_task(_fail(ValueError("inner")))

    with pytest.raises(ValueError, match="inner"):
        asyncio.run(main())
    assert not caplog.records


def test_failure_cancels_the_other_tasks():
    async def main():
        async with task_group() as tasks:
            other = tasks.create_task(asyncio.sleep(20))
            tasks.create_task(_fail(ValueError("stop")))
        return other

    with pytest.raises(ValueError, match="stop"):
        asyncio.run(asyncio.wait_for(main(), 5))


def test_cancellation_from_outside_propagates():
    async def main():
        async def block():
            async with task_group() as tasks:
                tasks.create_task(asyncio.sleep(20))

        task = asyncio.create_task(block())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
