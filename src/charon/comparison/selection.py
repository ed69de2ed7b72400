"""Choice of the setting of an engine."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.comparison.model import ChosenSetting, EngineSetting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.comparison.model import CellResult, Engine

_BATCHES = (1, 8, 16)
_QUEUE_SIZES = (100, 2000)
_QUEUING_ENGINES = ("baseline", "baseline-pods")
# Assumed if no setting was measured more than once: the difference between two equal runs on a machine of two cores.
_NOISE = 0.1


def candidate_settings(engine: Engine, cores: int) -> list[EngineSetting]:
    """Return the settings to measure, the default first.

    The default uses half of the cores for each worker; the others use one core or all of them.
    """
    default = EngineSetting()
    threads = [0, *(n for n in sorted({1, cores}) if n != max(1, cores // 2))]
    settings = [default, *(EngineSetting(batch=batch, threads=n) for n in threads for batch in _BATCHES)]
    if engine in _QUEUING_ENGINES:
        settings += [EngineSetting(queue_size=size) for size in _QUEUE_SIZES]
    return list(dict.fromkeys(settings))


def choose_setting(engine: Engine, model: str, results: Sequence[CellResult]) -> ChosenSetting:
    """Choose the best setting of an engine from the results of the part ``setting``.

    Settings with a smaller loss are better, then settings that kept up, then those with a lower latency: the geometric
    mean of p50 and p99. The default is chosen if it is not worse than the best one by more than the noise of the
    repetitions.

    Parameters
    ----------
    engine, model
        The engine and the model bundle; results of others are ignored, and so are cells that are not usable.
    results
        Results of cells.
    """
    measured = _summaries(engine, model, results)
    default = EngineSetting()
    if not measured:
        return ChosenSetting(engine=engine, model=model, setting=default, reason="default; no setting was measured")
    best = min(measured, key=lambda summary: summary.rank)
    noise = _noise(measured)
    for summary in measured:
        if summary.setting == default and summary is not best and summary.is_as_good_as(best, noise):
            reason = f"default, {summary.figures}; within the noise ({100 * noise:.0f} %) of the best: {best}"
            return ChosenSetting(engine=engine, model=model, setting=default, reason=reason)
    others = sorted((summary for summary in measured if summary is not best), key=lambda summary: summary.rank)
    compared = "; ".join(str(summary) for summary in others)
    reason = f"{best}; others: {compared}" if others else f"{best}; no other setting was measured"
    return ChosenSetting(engine=engine, model=model, setting=best.setting, reason=reason)


@dataclass(frozen=True, slots=True)
class _Summary:
    """Figures of a setting over its repetitions; the latencies are medians in ms, None without a result."""

    setting: EngineSetting
    published: int
    without_result: int
    kept_up: bool
    p50: float | None
    p99: float | None
    log_scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Logarithm of the latency; infinite without one."""
        return float(np.mean(self.log_scores)) if self.log_scores else math.inf

    @property
    def rank(self) -> tuple[float, bool, float]:
        """Order of the settings; the smallest is the best."""
        loss = self.without_result / self.published if self.published else 1.0
        return loss, not self.kept_up, self.score

    def is_as_good_as(self, best: _Summary, noise: float) -> bool:
        """Whether only the latency differs from that of the best setting, by at most the noise."""
        return self.rank[:2] == best.rank[:2] and self.score - best.score <= math.log1p(noise)

    @property
    def figures(self) -> str:
        """Figures in a few words."""
        latency = "no result" if self.p50 is None or self.p99 is None else f"{self.p50:.3g}/{self.p99:.3g} ms"
        kept_up = "" if self.kept_up else ", did not keep up"
        return f"p50/p99 {latency}, {self.without_result} of {self.published} frames without a result{kept_up}"

    def __str__(self) -> str:
        threads = "default threads" if not self.setting.threads else f"threads {self.setting.threads}"
        queue = "" if self.setting.queue_size == EngineSetting().queue_size else f", queue {self.setting.queue_size}"
        return f"batch {self.setting.batch}, {threads}{queue}: {self.figures}"


def _summaries(engine: Engine, model: str, results: Sequence[CellResult]) -> list[_Summary]:
    groups: dict[EngineSetting, list[CellResult]] = {}
    for result in results:
        condition = result.cell.condition
        is_ours = condition.part == "setting" and condition.engine == engine and condition.model == model
        if is_ours and result.is_usable and result.counts is not None:
            groups.setdefault(condition.setting, []).append(result)
    return [_summary(setting, group) for setting, group in groups.items()]


def _summary(setting: EngineSetting, group: Sequence[CellResult]) -> _Summary:
    counts = [result.counts for result in group if result.counts is not None]
    latencies = [result.latency_ms["result"] for result in group if "result" in result.latency_ms]
    positive = [latency for latency in latencies if latency.p50 > 0 and latency.p99 > 0]
    return _Summary(
        setting,
        sum(count.published for count in counts),
        sum(count.without_result for count in counts),
        all(result.kept_up for result in group),
        float(np.median([latency.p50 for latency in positive])) if positive else None,
        float(np.median([latency.p99 for latency in positive])) if positive else None,
        tuple(math.log(latency.p50 * latency.p99) / 2 for latency in positive),
    )


def _noise(measured: Sequence[_Summary]) -> float:
    """Return the relative difference that two equal settings exceed in 5 % of the cases, from the repetitions."""
    repeated = [summary.log_scores for summary in measured if len(summary.log_scores) > 1]
    freedom = sum(len(scores) - 1 for scores in repeated)
    if not freedom:
        return _NOISE
    variance = sum(float(np.var(scores)) * len(scores) for scores in repeated) / freedom
    repetitions = min(len(scores) for scores in repeated)
    return max(0.02, math.expm1(2 * math.sqrt(2 * variance / repetitions)))
