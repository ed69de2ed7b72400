"""The interactive prompt on a terminal."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import click
from prompt_toolkit import PromptSession
from prompt_toolkit.output import create_output
from prompt_toolkit.output.vt100 import Vt100_Output

from charon import __version__
from charon.cli.shell.completion import ShellCompleter
from charon.cli.shell.history import FileHistory, history_path
from charon.cli.shell.interpreter import ShellExitError
from charon.cli.shell.process import INTERRUPTED
from charon.cli.shell.tokenizer import LineError, join_lines, strip_prompt
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from prompt_toolkit.buffer import Buffer

    from charon.cli.shell.interpreter import Interpreter

PROMPT = "charon> "


def interact(interpreter: Interpreter) -> int:
    """Read and run lines until the user leaves the shell; return the exit status."""
    click.echo(f"charonctl {__version__}: type help for the commands, exit to leave", err=True)
    history = FileHistory(history_path())
    previous = {number: signal.signal(number, _exit) for number in (signal.SIGTERM, signal.SIGHUP)}
    completer = ShellCompleter(history.get_strings)
    try:
        return _loop(_reader(history, completer), interpreter)
    finally:
        completer.close()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _loop(read: Callable[[], str], interpreter: Interpreter) -> int:
    while True:
        try:
            _run(read(), interpreter)
        except KeyboardInterrupt:
            continue
        except EOFError:
            return 0
        except ShellExitError as request:
            return request.status or 0


def _run(text: str, interpreter: Interpreter) -> None:
    """Run the commands of an input; pasted text can contain several lines."""
    commands = [line for line in join_lines(text) if line.strip()]
    for line in commands:
        if len(commands) > 1:
            _echo(line)
        try:
            status = interpreter.run(line)
        except LineError as error:
            click.echo(f"error: {error}", err=True)
            continue
        if interpreter.interrupted and status == INTERRUPTED:
            return


def _echo(line: str) -> None:
    """Print a pasted line before its output, so that each command appears above its output."""
    printable = "".join(char if char.isprintable() else " " for char in strip_prompt(line))
    click.echo(f"{PROMPT}{printable}", err=True)


def _reader(history: FileHistory, completer: ShellCompleter) -> Callable[[], str]:
    """Return a function that reads a line; a terminal without cursor movement gets no line editor."""
    if environment.get("TERM", "dumb").lower() in {"", "dumb", "unknown"}:
        return lambda: _read_plain(history)
    # Draw on the terminal even if stdout is a file.
    output = create_output(always_prefer_tty=True)
    if isinstance(output, Vt100_Output):
        # Over a slow line, the terminal's reply to a cursor position request would become input of the next command.
        output.enable_cpr = False
    session: PromptSession[str] = PromptSession(
        PROMPT,
        history=history,
        completer=completer,
        complete_while_typing=False,
        complete_in_thread=True,
        output=output,
    )

    def prefetch(buffer: Buffer) -> None:
        completer.prefetch(buffer.document.text_before_cursor)

    session.default_buffer.on_text_changed += prefetch
    return session.prompt


def _read_plain(history: FileHistory) -> str:
    """Read a line with the terminal's own editing."""
    sys.stderr.write(PROMPT)
    sys.stderr.flush()
    raw = sys.stdin.buffer.readline()
    if not raw:
        sys.stderr.write("\n")
        raise EOFError
    line = raw.decode("utf-8", "surrogateescape").rstrip("\n")
    history.append_string(line)
    return line


def _exit(number: int, _frame: object) -> None:
    # As an exception, so that prompt_toolkit restores the terminal's modes.
    raise SystemExit(128 + number)
