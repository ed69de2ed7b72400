"""Answers to slow questions: asked in the background, kept for a while, never waited for longer than a moment."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")
# So many questions may be open at once; another one has no answer until one of them has.
_OPEN = 4
_KEPT = 256


@dataclass(slots=True)
class _Answer:
    """One question's latest answer, and whether it is being asked."""

    value: Any = None
    until: float = 0.0
    asking: bool = False
    known: threading.Event = field(default_factory=threading.Event)


class Answers:
    """Keeps answers and asks for them in threads of its own.

    Parameters
    ----------
    keep_s
        How long an answer is good for; after that it is still given while a new one is asked for.
    """

    def __init__(self, keep_s: float = 10.0) -> None:
        self._keep_s = keep_s
        self._answers: dict[Hashable, _Answer] = {}
        self._lock = threading.Lock()
        self._open = 0

    def get(self, key: Hashable, ask: Callable[[], T], *, until: float, keep_s: float | None = None) -> T | None:
        """Return the answer to a question, None where there is none in time.

        Parameters
        ----------
        key, ask
            What is asked, and what asks it. An error that it raises is no answer.
        until
            Moment, in s of the monotonic clock, until which to wait for a first answer.
        keep_s
            How long this answer is good for, where not as the others.
        """
        answer = self._asked(key, ask, self._keep_s if keep_s is None else keep_s)
        if answer is None:
            return None
        answer.known.wait(max(0.0, until - time.monotonic()))
        return cast("T | None", answer.value)

    def _asked(self, key: Hashable, ask: Callable[[], object], keep_s: float) -> _Answer | None:
        """Return where the answer is or will be; start asking where it is needed."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None and (answer.asking or time.monotonic() < answer.until):
                return answer
            if self._open >= _OPEN:
                return answer
            if answer is None:
                self._forget_one()
                answer = self._answers[key] = _Answer()
            answer.asking = True
            self._open += 1
        threading.Thread(target=self._ask, args=(answer, ask, keep_s), daemon=True).start()
        return answer

    def _ask(self, answer: _Answer, ask: Callable[[], object], keep_s: float) -> None:
        value = None
        with suppress(Exception):  # whatever it is, the prompt goes on without this answer
            value = ask()
        with self._lock:
            answer.value, answer.until, answer.asking = value, time.monotonic() + keep_s, False
            self._open -= 1
        answer.known.set()

    def _forget_one(self) -> None:
        """Forget the answer to the question that was asked first, where there are too many."""
        if len(self._answers) >= _KEPT:
            del self._answers[next(key for key, answer in self._answers.items() if not answer.asking)]
