"""Run a click command and convert errors to an exit status."""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import click

from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_RANGE = re.compile(
    r"(?P<value>\S+) is not in the range (?:(?P<min>[^<\s]+)(?P<open><=?))?x(?:(?P<op>[<>]=?)(?P<bound>\S+))?"
)
_BOUNDS = {">=": "at least", ">": "greater than", "<=": "at most", "<": "less than"}
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO}


def run_command(command: click.Command, arguments: Sequence[str] | None, name: str | None = None) -> int:
    """Run a command and return its exit status; an error becomes one line on stderr.

    Parameters
    ----------
    command, arguments
        The command and its arguments; None uses those of this process.
    name
        Program name in help texts; None uses the name that the process was started with.

    Returns
    -------
    int
        The command's own status, 1 if a service is unavailable, 2 for invalid usage, 130 if interrupted.
    """
    try:
        args = None if arguments is None else list(arguments)
        result = command.main(args=args, prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as request:
        return request.exit_code
    except click.Abort:
        return 130
    except Exception as error:
        status = _report(error)
        if status is None:
            raise
        return status
    return result if isinstance(result, int) else 0


def _report(error: Exception) -> int | None:
    """Print an expected error and return its exit status; return None for an unexpected one."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    if isinstance(error, click.ClickException):
        message, status = format_click_error(error), error.exit_code
    elif isinstance(error, UsageError):
        message, status = str(error), 2
    elif isinstance(error, UnavailableError):
        message, status = str(error), 1
    elif _is_stdout_error(error):
        _discard_stdout()
        message, status = f"cannot write the output: {error}", 1
    else:
        return None
    click.echo(f"error: {message}", err=True)
    return status


def format_click_error(error: click.ClickException) -> str:
    """Return the message of one of click's errors in the form of the project's own messages."""
    message = error.format_message().removesuffix(".")
    message = _RANGE.sub(_describe_range, message[:1].lower() + message[1:])
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return message
    hint = f"see: {error.ctx.command_path} --help"
    if isinstance(error, click.NoSuchOption):
        hint = f"did you mean {error.possibilities[0]}?" if error.possibilities else hint
        return f"unknown option {error.option_name!r}; {hint}"
    if isinstance(error, click.MissingParameter):
        message = message.partition(".")[0]  # the choices follow on further lines
    elif isinstance(error, click.BadParameter):
        return message
    return f"{message}; {hint}"


def _describe_range(match: re.Match[str]) -> str:
    bounds: list[str] = []
    if match["min"]:
        bounds.append(f"{'at least' if match['open'] == '<=' else 'greater than'} {match['min']}")
    if match["op"]:
        bounds.append(f"{_BOUNDS[match['op']]} {match['bound']}")
    return f"{match['value']}: must be {' and '.join(bounds)}"


def _is_stdout_error(error: Exception) -> bool:
    """Return whether the disk of stdout failed; errors of other files contain a file name."""
    return type(error) is OSError and error.errno in _DISK_ERRORS and error.filename is None


def _discard_stdout() -> None:
    """Discard buffered output: Python would retry the write at exit and report the error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
