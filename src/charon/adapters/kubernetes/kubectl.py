"""Client for kubectl that reports each failure as a one-line error."""

from __future__ import annotations

import json
import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from charon.adapters.kubernetes.deferred_signals import deferred_signals
from charon.adapters.kubernetes.kubeconfig import find_kubectl
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

_TIMEOUT_S = 30.0
_REQUEST_TIMEOUT = "10s"
# Options that select the cluster, namespace or credentials; they apply to every call, the others to `apply` only.
_CONNECTION_OPTIONS = frozenset(
    {"-n", "--namespace", "--context", "--cluster", "--user", "--kubeconfig", "-s", "--server", "--as", "--as-group"}
    | {"--certificate-authority", "--client-certificate", "--client-key", "--tls-server-name"}
)
_CONNECTION_FLAGS = frozenset({"--insecure-skip-tls-verify"})
_UNREACHABLE = (
    *("connection refused", "was refused", "no such host", "i/o timeout", "no route to host"),
    *("deadline exceeded", "timed out"),
)


class NotFoundOnClusterError(UnavailableError):
    """The cluster responds, but has no such object."""


class Kubectl:
    """Client that runs kubectl for one cluster.

    Parameters
    ----------
    options
        Options for kubectl; those that select the cluster, namespace or credentials apply to every call.

    Raises
    ------
    UsageError
        If there is no kubectl or no kubeconfig.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._command = find_kubectl(("get", *options))
        self._options = _connection_options(options)

    @property
    def options(self) -> list[str]:
        """The options that select the cluster, namespace or credentials."""
        return list(self._options)

    def namespace(self) -> str:
        """Return the namespace of the options, else of the kubeconfig, else ``default``."""
        option = _last_value(self._options, ("-n", "--namespace"))
        if option:
            return option
        configured = self.text("config", "view", "--minify", "--output", "jsonpath={..namespace}")
        return configured.strip() or "default"

    def json(self, *arguments: str) -> dict[str, Any]:
        """Run kubectl and return its output, parsed as JSON.

        Raises
        ------
        NotFoundOnClusterError, UnavailableError, UsageError
            See `text`.
        """
        output = self.text(*arguments, "--output", "json")
        try:
            return json.loads(output) if output.strip() else {}
        except ValueError as error:
            raise UnavailableError(f"kubectl {arguments[0]} returned invalid JSON: {output[:80]!r}") from error

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Run kubectl and return the items of the list that it prints."""
        return list(self.json(*arguments).get("items", []))

    def text(self, *arguments: str, stdin: str | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """Run kubectl and return its output.

        Raises
        ------
        NotFoundOnClusterError
            If the object does not exist.
        UsageError
            If kubectl rejects its arguments.
        UnavailableError
            If the cluster does not respond, forbids the request, or fails to execute it.
        """
        # A caller with a longer timeout waits for an event on the cluster; a request timeout would end the wait early.
        limit = (f"--request-timeout={_REQUEST_TIMEOUT}",) if timeout_s <= _TIMEOUT_S else ()
        command = [*self._command.program, *arguments, *self._options, *limit]
        try:
            with self._popen(command, stdin=stdin is not None, new_session=False) as process:
                output, errors = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"`kubectl {arguments[0]}` timed out after {timeout_s:.0f} s") from error
        if process.returncode:
            raise _classify(arguments[0], errors or output)
        return output

    @contextmanager
    def start(self, *arguments: str) -> Generator[subprocess.Popen[str]]:
        """Run kubectl with pipes for its output; it is killed on exit if it is still running."""
        with self._popen(
            [*self._command.program, *arguments, *self._options], stdin=False, new_session=True
        ) as process:
            yield process

    def stream(self, *arguments: str, output: BinaryIO, errors: BinaryIO) -> subprocess.Popen[bytes]:
        """Start kubectl with its output and its messages in files; the caller ends it.

        Raises
        ------
        UnavailableError
            If kubectl cannot be started.
        """
        command = [*self._command.program, *arguments, *self._options]
        try:
            return subprocess.Popen(  # noqa: S603 - kubectl, with arguments of this package's callers
                command,
                env=self._command.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        except OSError as error:
            raise UnavailableError(f"cannot start {command[0]}: {error.strerror}") from error

    @contextmanager
    def _popen(self, command: Sequence[str], *, stdin: bool, new_session: bool) -> Generator[subprocess.Popen[str]]:
        with ExitStack() as stack:
            # A signal that ends this process while kubectl starts would leave kubectl running.
            with deferred_signals():
                try:
                    process = subprocess.Popen(  # noqa: S603 - kubectl, with arguments that are checked or typed by the user
                        command,
                        env=self._command.environment(),
                        stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                        errors="replace",
                        # A session of its own shields kubectl from Ctrl-C.
                        start_new_session=new_session,
                    )
                except OSError as error:
                    raise UnavailableError(f"cannot start {self._command.program[0]}: {error.strerror}") from error
                stack.enter_context(process)
                stack.callback(process.kill)
            yield process


def _connection_options(options: Sequence[str]) -> list[str]:
    """Return the options that select the cluster, namespace or credentials, with their values."""
    selected: list[str] = []
    remaining = list(options)
    while remaining:
        option = remaining.pop(0)
        name, equals, _ = option.partition("=")
        if option in _CONNECTION_FLAGS or (name in _CONNECTION_OPTIONS and equals):
            selected.append(option)
        elif option in _CONNECTION_OPTIONS:
            if not remaining:
                raise UsageError(f"kubectl option {option} requires a value")
            selected += [option, remaining.pop(0)]
        elif option.startswith("-n") and not option.startswith("--") and len(option) > 2:
            selected += ["-n", option[2:]]
    return selected


def _last_value(options: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of the last occurrence of an option."""
    last = None
    for index, option in enumerate(options):
        name, equals, value = option.partition("=")
        if name in names:
            last = value if equals else options[index + 1]
    return last


def _classify(command: str, output: str) -> UnavailableError | UsageError:
    """Return the error that corresponds to kubectl's error output."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not _is_client_log(line)]
    last = " ".join(lines[-1:]).removeprefix("error: ") or "failed without an error message"
    text = " ".join(lines)
    for phrases, kind, message in _ERRORS:
        if any(phrase in text.lower() for phrase in phrases):
            return kind(message.format(last=last, refusal=_after(text, "(Forbidden):")))
    if "unknown flag" in text or "unknown shorthand flag" in text or "flag needs an argument" in text:
        return UsageError(f"kubectl {command}: {_flag_error(lines)}")
    return UnavailableError(f"kubectl {command}: {last}")


_ERRORS: tuple[tuple[tuple[str, ...], type[UnavailableError | UsageError], str], ...] = (
    (("(notfound)",), NotFoundOnClusterError, "{last}"),
    (("(forbidden)",), UnavailableError, "permission denied by the cluster: {refusal}"),
    (
        ("unauthorized", "must be logged in"),
        UnavailableError,
        "the cluster rejected the credentials in the kubeconfig",
    ),
    (_UNREACHABLE, UnavailableError, "the cluster does not respond: {last}"),
    (
        ("no matches for kind", "doesn't have a resource type"),
        UnavailableError,
        "the cluster has no such resource type; is Numaflow installed? {last}",
    ),
    (
        ('error: context "', "context was not found", "no context exists", "error loading config file"),
        UsageError,
        "{last}",
    ),
)
"""For each error: phrases of kubectl's output in lower case, the exception, and its message."""


def _flag_error(lines: Sequence[str]) -> str:
    return next(line for line in lines if "flag" in line).removeprefix("error: ")


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2].strip() or text


def _is_client_log(line: str) -> bool:
    """Return whether a line belongs to client-go's log, which repeats kubectl's own error."""
    return line[:1] in "EIW" and line[1:5].isdigit()
