"""Asks kubectl, and says in one line what went wrong."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from charon.adapters.kubernetes.kubeconfig import find_kubectl
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

_TIMEOUT_S = 30.0
_REQUEST_TIMEOUT = "10s"
# Options of kubectl that say where to ask, and take a value; they hold for every question, not for `apply` alone.
_PLACE_OPTIONS = frozenset(
    {"-n", "--namespace", "--context", "--cluster", "--user", "--kubeconfig", "-s", "--server", "--as", "--as-group"}
    | {"--certificate-authority", "--client-certificate", "--client-key", "--tls-server-name"}
)
_PLACE_FLAGS = frozenset({"--insecure-skip-tls-verify"})
_AWAY = (
    *("connection refused", "was refused", "no such host", "i/o timeout", "no route to host"),
    *("deadline exceeded", "timed out"),
)


class NotFoundOnClusterError(UnavailableError):
    """The cluster answers, and has no such object."""


class Kubectl:
    """kubectl for one cluster.

    Parameters
    ----------
    options
        kubectl's own options; those that say where to ask are kept for every question.

    Raises
    ------
    UsageError
        If there is no kubectl, or no cluster is known.
    """

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._place = find_kubectl(("get", *options))
        self._options = _placing(options)

    @property
    def options(self) -> list[str]:
        """Those of the options that say where to ask."""
        return list(self._options)

    def namespace(self) -> str:
        """Return the namespace that the options or the kubeconfig name; ``default`` where neither does."""
        given = _value(self._options, ("-n", "--namespace"))
        if given:
            return given
        found = self.text("config", "view", "--minify", "--output", "jsonpath={..namespace}")
        return found.strip() or "default"

    def json(self, *arguments: str) -> dict[str, Any]:
        """Return what kubectl answers as JSON.

        Raises
        ------
        NotFoundOnClusterError, UnavailableError, UsageError
            As `text`.
        """
        answer = self.text(*arguments, "--output", "json")
        try:
            return json.loads(answer) if answer.strip() else {}
        except ValueError as error:
            raise UnavailableError(f"kubectl {arguments[0]} answered no JSON: {answer[:80]!r}") from error

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the items of a list that kubectl answers."""
        return list(self.json(*arguments).get("items", []))

    def text(self, *arguments: str, stdin: str | None = None, timeout_s: float = _TIMEOUT_S) -> str:
        """Return what kubectl writes.

        Raises
        ------
        NotFoundOnClusterError
            If the object is not there.
        UsageError
            If kubectl finds fault with what was asked.
        UnavailableError
            If the cluster does not answer, forbids it, or cannot do it.
        """
        # A question that the caller gives more time waits on the cluster, which the request's own limit would cut off.
        patience = (f"--request-timeout={_REQUEST_TIMEOUT}",) if timeout_s <= _TIMEOUT_S else ()
        command = [*self._place.program, *arguments, *self._options, *patience]
        try:
            done = subprocess.run(  # noqa: S603 - kubectl, with arguments that are checked or typed by the user
                command,
                env=self._place.environment(),
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(
                f"the cluster did not answer `kubectl {arguments[0]}` in {timeout_s:.0f} s"
            ) from error
        except OSError as error:
            raise UnavailableError(f"{self._place.program[0]} cannot be started: {error.strerror}") from error
        if done.returncode:
            raise _meant(arguments[0], done.stderr or done.stdout)
        return done.stdout

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start kubectl and return its process, which the caller ends; its output is read through pipes."""
        return subprocess.Popen(  # noqa: S603 - as above
            [*self._place.program, *arguments, *self._options],
            env=self._place.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Ctrl-C is for the one who asked; this one is ended by its owner.
            start_new_session=True,
        )


def _placing(options: Sequence[str]) -> list[str]:
    """Return those of kubectl's options that say where to ask, with their values."""
    kept: list[str] = []
    left = list(options)
    while left:
        option = left.pop(0)
        name, equals, _ = option.partition("=")
        if option in _PLACE_FLAGS or (name in _PLACE_OPTIONS and equals):
            kept.append(option)
        elif option in _PLACE_OPTIONS:
            if not left:
                raise UsageError(f"kubectl's option {option} needs a value")
            kept += [option, left.pop(0)]
        elif option.startswith("-n") and not option.startswith("--") and len(option) > 2:
            kept += ["-n", option[2:]]
    return kept


def _value(options: Sequence[str], names: Sequence[str]) -> str | None:
    """Return the value of an option, the last one given."""
    found = None
    for index, option in enumerate(options):
        name, equals, value = option.partition("=")
        if name in names:
            found = value if equals else options[index + 1]
    return found


def _meant(command: str, said: str) -> UnavailableError | UsageError:
    """Return the error that kubectl's words mean."""
    lines = [line.strip() for line in said.splitlines() if line.strip() and not _is_noise(line)]
    text = " ".join(lines[-1:]).removeprefix("error: ") or "it said nothing"
    whole = " ".join(lines)
    for words, kind, message in _MEANINGS:
        if any(word in whole.lower() for word in words):
            return kind(message.format(text=text, refusal=_after(whole, "(Forbidden):")))
    if "unknown flag" in whole or "unknown shorthand flag" in whole or "flag needs an argument" in whole:
        return UsageError(f"kubectl {command}: {_flag_fault(lines)}")
    return UnavailableError(f"kubectl {command}: {text}")


_MEANINGS: tuple[tuple[tuple[str, ...], type[UnavailableError | UsageError], str], ...] = (
    (("(notfound)",), NotFoundOnClusterError, "{text}"),
    (("(forbidden)",), UnavailableError, "the cluster forbids it: {refusal}"),
    (
        ("unauthorized", "must be logged in"),
        UnavailableError,
        "the cluster does not know you: the credentials of the kubeconfig are refused",
    ),
    (_AWAY, UnavailableError, "the cluster does not answer: {text}"),
    (
        ("no matches for kind", "doesn't have a resource type"),
        UnavailableError,
        "the cluster does not know this kind of object; is Numaflow installed? {text}",
    ),
    (
        ('error: context "', "context was not found", "no context exists", "error loading config file"),
        UsageError,
        "{text}",
    ),
)
"""Words by which kubectl's complaints are known, in lower case, and what each means."""


def _flag_fault(lines: Sequence[str]) -> str:
    return next(line for line in lines if "flag" in line).removeprefix("error: ")


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2].strip() or text


def _is_noise(line: str) -> bool:
    """Return whether a line is one of client-go's own log, which says the same as the last one."""
    return line[:1] in "EIW" and line[1:5].isdigit()
