"""Search for the highest loss-free rate of an engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

# Measurements of one rate; a rate that is answered differently this often is at the limit itself.
_MAX_ANSWERS_PER_RATE = 5


@dataclass(slots=True)
class _Answers:
    loss_free: int = 0
    lossy: int = 0

    @property
    def count(self) -> int:
        return self.loss_free + self.lossy


class RateSearch:
    """Search by doubling or halving, then by bisection of the logarithm of the rate.

    Each answer may be wrong: a short disturbance of the machine makes a loss-free rate look lossy. The result is the
    limit that contradicts the fewest answers. Rates whose answers are ambiguous are measured again, and both rates next
    to the limit are confirmed. The number of answers is limited, so the search always ends.

    Parameters
    ----------
    start_hz
        First rate.
    min_hz, max_hz
        Lowest and highest rate to measure.
    tolerance
        The search ends if the lowest lossy rate is at most this fraction above the highest loss-free one.
    confirmations
        Number by which equal answers must outnumber the other ones at both rates of the result; 1 measures each once.

    Raises
    ------
    ValueError
        If the rates are not ordered, or the tolerance or the number of confirmations is not positive.
    """

    def __init__(
        self, start_hz: float, min_hz: float, max_hz: float, tolerance: float, *, confirmations: int = 2
    ) -> None:
        if not 0 < min_hz <= start_hz <= max_hz < math.inf:
            raise ValueError(f"rates must be 0 < {min_hz} (minimum) <= {start_hz} (start) <= {max_hz} (maximum)")
        if tolerance <= 0 or confirmations < 1:
            raise ValueError("tolerance and number of confirmations must be positive")
        self._start_hz, self._min_hz, self._max_hz = start_hz, min_hz, max_hz
        self._tolerance = tolerance
        self._confirmations = min(confirmations, _MAX_ANSWERS_PER_RATE)
        self._answers: dict[float, _Answers] = {}
        steps = math.ceil(math.log2(max_hz / min_hz)) + math.ceil(max(0.0, -math.log2(math.log2(1 + tolerance))))
        self._max_answers = 2 * steps + 4 * self._confirmations

    @property
    def contradictions(self) -> int:
        """Number of answers that contradict the result."""
        rates = sorted(self._answers)
        return min((self._cost(rates, cut) for cut in range(len(rates) + 1)), default=0)

    @property
    def answers(self) -> int:
        """Number of answers."""
        return sum(answers.count for answers in self._answers.values())

    @property
    def is_confirmed(self) -> bool:
        """Whether the search ended because the limit was found, rather than at the largest number of answers."""
        return self.next_rate_hz() is None and self._wanted_rate_hz() is None

    def add(self, rate_hz: float, loss_free: bool) -> None:
        """Add the answer of a measurement, in any order."""
        answers = self._answers.setdefault(rate_hz, _Answers())
        if loss_free:
            answers.loss_free += 1
        else:
            answers.lossy += 1

    def next_rate_hz(self) -> float | None:
        """Return the rate to measure next; None if the search has ended."""
        if self.answers >= self._max_answers:
            return None
        return self._wanted_rate_hz()

    def result(self) -> tuple[float | None, float | None]:
        """Return the highest loss-free rate and the lowest lossy one; None if all rates are lossy or loss-free."""
        rates = sorted(self._answers)
        # Of equally good limits the lowest: the rate was not shown to be loss-free.
        return self._limit(rates, self._cuts(rates)[0])

    def _wanted_rate_hz(self) -> float | None:
        if not self._answers:
            return self._start_hz
        rates = sorted(self._answers)
        cuts = self._cuts(rates)
        if len(cuts) > 1:
            ambiguous = self._least_measured(rates[cuts[0] : cuts[-1]])
            if ambiguous is not None:
                return ambiguous
        low, high = self._limit(rates, cuts[0])
        return self._between(low, high) or self._unconfirmed(low, high)

    def _between(self, low: float | None, high: float | None) -> float | None:
        """Return a new rate between the limits; None if they are close enough."""
        if low is None:
            assert high is not None  # noqa: S101 - there are answers
            return None if high <= self._min_hz else _rounded(max(self._min_hz, high / 2), self._min_hz, high)
        if high is None:
            return None if low >= self._max_hz else _rounded(min(self._max_hz, low * 2), low, self._max_hz)
        if high <= low * (1 + self._tolerance):
            return None
        return _rounded(math.sqrt(low * high), low, high)

    def _unconfirmed(self, low: float | None, high: float | None) -> float | None:
        """Return the one of two rates with too few equal answers."""
        for rate in (low, high):
            if rate is None:
                continue
            answers = self._answers[rate]
            margin = abs(answers.loss_free - answers.lossy)
            if margin < self._confirmations and answers.count < _MAX_ANSWERS_PER_RATE:
                return rate
        return None

    def _least_measured(self, rates: list[float]) -> float | None:
        rate = min(rates, key=lambda rate: self._answers[rate].count)
        return rate if self._answers[rate].count < _MAX_ANSWERS_PER_RATE else None

    def _cuts(self, rates: list[float]) -> list[int]:
        """Return the numbers of loss-free rates that contradict the fewest answers."""
        costs = [self._cost(rates, cut) for cut in range(len(rates) + 1)]
        return [cut for cut, cost in enumerate(costs) if cost == min(costs)]

    def _cost(self, rates: list[float], cut: int) -> int:
        below = sum(self._answers[rate].lossy for rate in rates[:cut])
        return below + sum(self._answers[rate].loss_free for rate in rates[cut:])

    @staticmethod
    def _limit(rates: list[float], cut: int) -> tuple[float | None, float | None]:
        return rates[cut - 1] if cut else None, rates[cut] if cut < len(rates) else None


def _rounded(rate: float, low: float, high: float) -> float:
    """Return a rate with four digits, unless that is outside its limits."""
    short = float(f"{rate:.4g}")
    return short if low < short < high else rate
