"""Verdicts: whether results support a claim, by rules that are the same for every claim.

A claim has parts. A part is a number that every seed gives, its effect, and the value it must exceed. The number of
seeds is fixed beforehand for each scale, and a part is decided from exactly these, 0 to n - 1: further seeds are
ignored, and with fewer it stays open. Looking after each seed and stopping when it suits would give false support in 7
of 100 cases. A part is

- supported, if Student's 95 % confidence interval of the mean effect lies above that value;
- contradicted, if the interval lies below it, at a level corrected for the number of parts;
- open otherwise.

Where the seeds' effects take few values, at most half as many as there are seeds, that interval says nothing (of equal
values it has no width). A sign test decides there: how probable it is that so many of the seeds lie on one side if
each side is as likely. With fewer than six seeds it can not decide.

A claim holds if all its parts are supported, and fails if one is contradicted. At the paper's scale that is called
*reproduced* and *not reproduced*, else *inconclusive*; in miniature *holds* and *fails*, else *open*. Other scales
decide nothing.

Multiplicity: that all parts must be supported needs no correction (an intersection-union test: a claim that is false
passes with a probability of at most 2.5 %); that one contradicted part is enough does, and gets Bonferroni's. Claims
are not corrected for one another: if in each of seventeen one effect were exactly at its value, the others far above,
one table in three would call at least one of them true by chance. How often a part is supported by chance, and how
often if the published curves are right, is simulated: docs/error_rates.md.

Seeds are paired: the effect is computed within a seed, from runs that share initialisation and order of images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from smith.analysis.measures import Statistic, Traces
from smith.analysis.places import Experiments, Place, published, run_at
from smith.analysis.traces import stacked, trace
from smith.store import Store

State = Literal["supported", "contradicted", "open"]
WORDS = {  # scale: what a claim is that holds, that fails, that is open
    "paper": ("reproduced", "not reproduced", "inconclusive"),
    "mini": ("holds", "fails", "open"),
}

LEVEL = 0.95
ROUNDING = 1e-9  # differences below it are not differences


@dataclass(frozen=True)
class Part:
    """One thing that a claim says.

    what: in words, a phrase that is true if the effect exceeds `above`
    curves: the runs that it needs, by the names that the statistic uses
    statistic: the traces of these, by these names -> the effect of every seed, or of the last ones where the first
      choose a setting; not a number where there is none
    above: what the effect must exceed
    unit: the effect's unit
    """

    what: str
    curves: Mapping[str, Place]
    statistic: Statistic
    above: float = 0.0
    unit: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    name: "C01"
    says: the claim in one sentence, in our words
    source: the section or remark of the paper
    panels: where the paper shows it
    parts: what has to be true; all of it
    why: why the statistics and the values they must exceed are these, and what was left out
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

    effects: by seed, in the part's unit; of the seeds that decide
    mean, low, high: of the effect over seeds, with the 95 % interval; not a number where there are too few seeds or, of
      the interval, too few values
    published: the effect of the paper's own curves; not a number where they do not show what it needs
    reason: why it is open, if results are missing or are not to be decided from
    """

    part: Part
    state: State
    effects: Mapping[int, float]
    mean: float
    low: float
    high: float
    published: float
    reason: str = ""


@dataclass(frozen=True)
class Decision:
    """A claim's verdict, and the findings it follows from, at one scale."""

    claim: Claim
    scale: str
    verdict: str
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """Why the claim is not decided: each reason once."""
        return list(dict.fromkeys(finding.reason for finding in self.findings if finding.reason))

    @property
    def there(self) -> list[Finding]:
        """The findings that have an effect to show."""
        return [finding for finding in self.findings if finding.effects]

    @property
    def seeds(self) -> int:
        """The least number of seeds that a part has an effect of."""
        return min((len(finding.effects) for finding in self.findings), default=0)


# --- of numbers: arrays (..., seeds), so that a simulation decides many at once ---


def interval(values: Sequence[float] | np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Returns Student's two-sided confidence interval of the mean; not a number for fewer than two values."""
    sample = np.asarray(values, float)
    count = sample.shape[-1]
    if count < 2:
        return np.full(sample.shape[:-1], np.nan), np.full(sample.shape[:-1], np.nan)
    from scipy import special

    mean = sample.mean(axis=-1)
    reach = special.stdtrit(count - 1, (1 + level) / 2) * sample.std(axis=-1, ddof=1) / np.sqrt(count)
    return mean - reach, mean + reach


def lies_above(values: Sequence[float] | np.ndarray, bar: float, level: float = LEVEL) -> np.ndarray:
    """Says whether effects lie above a value, by more than chance would have it: (..., seeds) -> (...).

    Where they take few values, their signs and the side of their mean say so.
    """
    from scipy import special

    sample = np.asarray(values, float)
    by_mean = interval(sample, level)[0] > bar + ROUNDING
    above = (sample > bar + ROUNDING).sum(axis=-1)
    by_signs = special.bdtrc(above - 1, sample.shape[-1], 0.5) <= (1 - level) / 2
    return np.where(few_values(sample), by_signs & (sample.mean(axis=-1) > bar + ROUNDING), by_mean)


def few_values(sample: np.ndarray) -> np.ndarray:
    """Says whether effects take at most half as many values as there are seeds: (..., seeds) -> (...)."""
    ordered = np.sort(sample, axis=-1)
    return 1 + (np.diff(ordered, axis=-1) > ROUNDING).sum(axis=-1) <= sample.shape[-1] / 2


# --- of results ---


def decide(claim: Claim, experiments: Experiments, store: Store) -> Decision:
    """Returns the verdict on a claim from the results of one scale."""
    findings = tuple(_find(part, experiments, store, len(claim.parts)) for part in claim.parts)
    states = {finding.state for finding in findings}
    holds, fails, undecided = WORDS.get(store.scale.name, WORDS["paper"])
    verdict = fails if "contradicted" in states else holds if states == {"supported"} else undecided
    return Decision(claim, store.scale.name, verdict, findings)


def _find(part: Part, experiments: Experiments, store: Store, parts: int) -> Finding:
    seeds, found = _traces(part, experiments, store)
    values = _effect(part, found) if seeds else np.empty(0)
    values = np.full(len(seeds), values) if values.ndim == 0 else values
    effects = dict(zip(seeds[len(seeds) - len(values) :], values.tolist(), strict=True))
    reason = _reason(part, experiments, store, len(seeds), effects)
    low, high = (np.nan, np.nan) if few_values(values) else interval(values)
    return Finding(
        part,
        "open" if reason else _state(part.above, values, parts),
        effects,
        float(values.mean()) if len(values) else np.nan,
        float(low),
        float(high),
        _published(part, experiments),
        reason,
    )


def _traces(part: Part, experiments: Experiments, store: Store) -> tuple[list[int], Traces]:
    """Returns the seeds that decide and have a result of every curve, and the curves' traces of these seeds."""
    runs = {name: run_at(experiments, place) for name, place in part.curves.items()}
    found = {name: {result.seed: result for result in store.results(run)} for name, run in runs.items()}
    seeds = [seed for seed in range(store.scale.seeds) if all(seed in of for of in found.values())]
    if not seeds:
        return [], {}
    return seeds, {name: stacked([trace(run, found[name][seed]) for seed in seeds]) for name, run in runs.items()}


def _effect(part: Part, runs: Traces) -> np.ndarray:
    """Returns the effect of every seed; not a number if the runs have no tests where the statistic looks."""
    try:
        return np.asarray(part.statistic({name: runs[name] for name in part.curves}), float)
    except (ValueError, ArithmeticError, IndexError):
        return np.array(np.nan)


def _state(above: float, values: np.ndarray, parts: int) -> State:
    if lies_above(values, above):
        return "supported"
    return "contradicted" if lies_above(-values, -above, 1 - (1 - LEVEL) / parts) else "open"


def _reason(part: Part, experiments: Experiments, store: Store, seeds: int, effects: Mapping[int, float]) -> str:
    """Returns why nothing is to be decided from these results; empty if something is."""
    scale = store.scale
    commands = ", ".join(dict.fromkeys(store.command(place.experiment) for place in part.curves.values()))
    absent = [str(place) for place in part.curves.values() if not store.results(run_at(experiments, place))]
    if absent:
        return f"no result of {', '.join(absent)} at scale {scale.name}: {commands}"
    if scale.name not in WORDS:
        return f"scale {scale.name} decides nothing"
    if seeds < scale.seeds:
        more = f": {commands} --seeds {scale.seeds}" if store.seeds == scale.seeds else ", which this recipe has not"
        return f"{seeds} of {scale.seeds} seeds are there{more}"
    undefined = [str(seed) for seed, effect in effects.items() if not np.isfinite(effect)]
    return f"no effect can be computed for seed {', '.join(undefined)}" if undefined else ""


def _published(part: Part, experiments: Experiments) -> float:
    """Returns the effect of the paper's own curves; not a number where they do not show what the statistic needs."""
    theirs = {name: published(experiments, place) for name, place in part.curves.items()}
    try:
        return float(_effect(part, {name: found for name, found in theirs.items() if found is not None}))
    except KeyError:  # a curve or a quantity that the plots do not show
        return np.nan
