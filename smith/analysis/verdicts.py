"""Verdicts: whether results support a claim, by rules that are the same for every claim.

A claim has parts. A part is a number that every seed gives, its effect, and the value it must exceed. With results at
the paper's scale and at least `MIN_SEEDS` seeds, a part is

- supported, if the 95 % confidence interval of its mean over seeds lies above that value;
- contradicted, if the interval lies below it, at a level corrected for the number of parts;
- open otherwise.

A claim is *reproduced* if all its parts are supported, *not reproduced* if one is contradicted, else *inconclusive*.
Multiplicity: that all parts must be supported needs no correction (an intersection-union test: a claim that is false
passes with a probability of at most 2.5 %); that one contradicted part is enough does, and gets Bonferroni's. Claims
are not corrected for one another: if in each of sixteen one effect were exactly at its value and the others far above,
one table in three would call at least one of them reproduced by chance.

Seeds are paired: the effect is computed within a seed, from runs that share initialisation and order of images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smith.analysis.measures import Statistic
from smith.analysis.places import Experiments, Place, published, run_at
from smith.store import Result, Store

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
State = Literal["supported", "contradicted", "open"]

LEVEL = 0.95
MIN_SEEDS = 3  # the t-interval of two seeds is 12.7 standard errors wide on either side; the paper has 4 runs
T_SEEDS = 10  # from so many seeds on the interval is a bootstrap's, which assumes no normal distribution
RESAMPLES = 9_999
ROUNDING = 1e-9  # differences below it are not differences


@dataclass(frozen=True)
class Part:
    """One thing that a claim says.

    what: in words, a phrase that is true if the effect exceeds `above`
    curves: the runs that it needs, by the names that the statistic uses
    statistic: the results of one seed, by these names -> the effect; ValueError or not a number where it has none
    above: what the effect must exceed
    unit: the effect's unit
    missing: why there can be no result, if there can be none
    """

    what: str
    curves: Mapping[str, Place]
    statistic: Statistic
    above: float = 0.0
    unit: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    name: "C01"
    says: the claim in one sentence, in our words
    source: the section or remark of the paper
    panels: where the paper shows it
    parts: what has to be true; all of it
    why: why the statistics and the values they must exceed are these; written before results were there
    """

    name: str
    says: str
    source: str
    panels: tuple[str, ...]
    parts: tuple[Part, ...]
    why: str


@dataclass(frozen=True)
class Finding:
    """What results say of a part.

    effects: by seed, in the part's unit
    mean, low, high: of the effect over seeds, with the 95 % interval; not a number where there are too few
    published: the effect of the paper's own curves, where they show what it needs
    reason: why it is open, if results are missing or are not to be decided from
    """

    part: Part
    state: State
    effects: Mapping[int, float]
    mean: float
    low: float
    high: float
    published: float | None
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """A claim's verdict, and the findings it follows from, at one scale."""

    claim: Claim
    scale: str
    verdict: Verdict
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """Why the claim is not decided: each reason once."""
        return list(dict.fromkeys(finding.reason for finding in self.findings if finding.reason))

    @property
    def seeds(self) -> int:
        """The least number of seeds that a part has an effect of, parts that can have no result left out."""
        return min((len(finding.effects) for finding in self.findings if not finding.part.missing), default=0)


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Returns the two-sided confidence interval of the mean: Student's t, or from 10 values on a BCa bootstrap.

    Not a number for fewer than two values, or where one is not finite. The bootstrap's random numbers are fixed, so
    that a verdict is too.
    """
    sample = np.asarray(values, float)
    if len(sample) < 2 or not np.isfinite(sample).all():
        return np.nan, np.nan
    mean, error = sample.mean(), sample.std(ddof=1) / np.sqrt(len(sample))
    if np.ptp(sample) <= ROUNDING * max(1.0, abs(mean)):
        return float(mean), float(mean)
    from scipy import stats

    if len(sample) < T_SEEDS:
        reach = stats.t.ppf((1 + level) / 2, len(sample) - 1) * error
        return float(mean - reach), float(mean + reach)
    found = stats.bootstrap(
        (sample,), np.mean, confidence_level=level, n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def decide(claim: Claim, experiments: Experiments, store: Store) -> Decision:
    """Returns the verdict on a claim from the results of one scale. Other scales than the paper's decide nothing."""
    findings = tuple(_find(part, experiments, store, len(claim.parts)) for part in claim.parts)
    states = {finding.state for finding in findings}
    verdict: Verdict = "inconclusive"
    if "contradicted" in states:
        verdict = "not reproduced"
    elif states == {"supported"}:
        verdict = "reproduced"
    return Decision(claim, store.scale.name, verdict, findings)


def best(claim: Claim, experiments: Experiments, stores: Sequence[Store]) -> Decision:
    """Returns the decision of the first scale at which a claim has an effect; of the first if none has."""
    decisions = [decide(claim, experiments, store) for store in stores]
    return next((d for d in decisions if any(np.isfinite(finding.mean) for finding in d.findings)), decisions[0])


def _find(part: Part, experiments: Experiments, store: Store, parts: int) -> Finding:
    runs = {name: run_at(experiments, place) for name, place in part.curves.items()}
    found = {name: {result.seed: result for result in store.results(run)} for name, run in runs.items()}
    common = sorted(set.intersection(*map(set, found.values()))) if found else []
    effects = {seed: _effect(part, {name: runs[seed] for name, runs in found.items()}) for seed in common}
    values = list(effects.values())
    low, high = interval(values)
    reason = part.missing or _reason(part, store.scale.name, found, effects)
    return Finding(
        part,
        "open" if reason else _state(part.above, values, parts),
        effects,
        float(np.mean(values)) if values else np.nan,
        low,
        high,
        _published(part, experiments),
        reason,
    )


def _state(above: float, values: Sequence[float], parts: int) -> State:
    if interval(values)[0] > above + ROUNDING:
        return "supported"
    if interval(values, 1 - (1 - LEVEL) / parts)[1] < above - ROUNDING:
        return "contradicted"
    return "open"


def _reason(part: Part, scale: str, found: Mapping[str, Mapping[int, Result]], effects: Mapping[int, float]) -> str:
    """Returns why nothing is to be decided from these results; empty if something is."""
    absent = [str(part.curves[name]) for name, runs in found.items() if not runs]
    if absent:
        return f"no result of {', '.join(absent)} at scale {scale}"
    if scale != "paper":
        return f"scale {scale} is not the paper's protocol"
    if len(effects) < MIN_SEEDS:
        return f"{len(effects)} seed{'s' * (len(effects) != 1)} in common, {MIN_SEEDS} are needed"
    undefined = [str(seed) for seed, effect in effects.items() if not np.isfinite(effect)]
    return f"no effect can be computed for seed {', '.join(undefined)}" if undefined else ""


def _published(part: Part, experiments: Experiments) -> float | None:
    """Returns the effect of the paper's own curves; None where they do not show what the statistic needs."""
    theirs = {name: published(experiments, place) for name, place in part.curves.items()}
    there = {name: result for name, result in theirs.items() if result is not None}
    if part.missing or len(there) < len(theirs):
        return None
    try:
        effect = _effect(part, there)
    except KeyError:  # a column that the plots do not show
        return None
    return effect if np.isfinite(effect) else None


def _effect(part: Part, runs: Mapping[str, Result]) -> float:
    """Returns the effect of one seed; not a number if the runs have no tests where the statistic looks."""
    try:
        return float(part.statistic(runs))
    except (ValueError, ArithmeticError):
        return np.nan
