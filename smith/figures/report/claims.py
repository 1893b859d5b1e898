"""Claims and verdicts in words, and where their pictures have marks, for the report and for the README."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from smith.analysis.claims import CLAIMS
from smith.analysis.verdicts import WORDS, Decision, Finding
from smith.errors import UserError
from smith.figures.report import words

SYMBOLS = {word: symbol for words in WORDS.values() for word, symbol in zip(words, "✓✗○", strict=True)}
AT = {"paper": "at the paper's scale", "mini": "in miniature"}
Decisions = Sequence[Decision]  # on one claim, at one scale after the other
STATES = {"supported": "✓", "contradicted": "✗", "open": "○"}
BEGIN, END = "<!-- claims -->", "<!-- /claims -->"
WIDTH, EDGE = 320, 12  # of a picture, and of what stays free on either side


def verdict(decision: Decision) -> str:
    """Returns the verdict with its symbol."""
    return f"{SYMBOLS[decision.verdict]} {decision.verdict}"


def papers(claims: Sequence[Decisions], theirs: bool = True) -> list[Decisions]:
    """Returns the decisions on the paper's claims, or else those on claims that experiments bring along."""
    return [of for of in claims if (of[0].claim.name in CLAIMS) == theirs]


def summary(claims: Sequence[Decisions]) -> str:
    """Returns how many claims have each verdict, scale by scale."""
    said = []
    for decisions in zip(*claims, strict=True):
        counts = [f"{word} {sum(d.verdict == word for d in decisions)}" for word in WORDS[decisions[0].scale]]
        said.append(f"{AT[decisions[0].scale]}: {', '.join(counts)}")
    return "; ".join(said)


def effect(finding: Finding) -> str:
    """Returns "0.12 [0.05, 0.19]": the mean over seeds and its 95 % interval; empty without a result."""
    if not finding.effects:
        return ""
    if not np.isfinite(finding.mean):
        return "not defined"
    ends = [words.number(value) for value in (finding.low, finding.high)]
    return words.number(finding.mean) + (f" [{', '.join(ends)}]" if np.isfinite(finding.low) else "")


def places(finding: Finding) -> dict[str, Any]:
    """Returns where the picture of a finding has its marks, from 0 to `WIDTH`; empty where there is no effect.

    They are the dots of the seeds, the mean, the ends of the interval, the bar to clear, the paper's own value.
    """
    if not np.isfinite(finding.mean):
        return {}
    marks = [finding.part.above, finding.mean, finding.low, finding.high, finding.published, *finding.effects.values()]
    low, high = np.nanmin(marks), np.nanmax(marks)
    x = [round(EDGE + (mark - low) / ((high - low) or 1.0) * (WIDTH - 2 * EDGE), 1) for mark in marks]
    named = zip(("bar", "mean", "low", "high", "published"), x, strict=False)
    return {name: place for name, place in named if np.isfinite(place)} | {"seeds": x[5:]}


# --- the README ---


def markdown(claims: Sequence[Decisions]) -> str:
    """Returns the README's table of claims: a column for each scale, with the effects of the parts."""
    titles = [AT[decision.scale] for decision in claims[0]]
    lines = ["| | claim | " + " | ".join(titles) + " |", "|---|---|" + "---|" * len(titles)]
    for decisions in claims:
        claim = decisions[0].claim
        cells = [claim.name, claim.says, *map(_cell, decisions)]
        lines.append("| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def _cell(decision: Decision) -> str:
    found = decision.there
    if not found:
        return f"{verdict(decision)}, no result"
    counts = sorted({len(finding.effects) for finding in found})
    seeds = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    parts = f"{len(found)} of {len(decision.findings)} parts, " if len(found) < len(decision.findings) else ""
    said = f"{verdict(decision)} ({parts}{seeds} seed{'s' * (seeds != '1')})"
    return "<br>".join([said, *map(effect, found)])


def with_claims(readme: str, claims: Sequence[Decisions], name: str) -> str:
    """Returns a README with its table of claims replaced. name: what the file is called, for the message.

    Raises:
      UserError: the marks that the table stands between are not there, or not once and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise UserError(f"{name}: no place for the claims; it needs one line {BEGIN} and, below it, one line {END}")
    return f"{before}{begin}\n{markdown(claims)}\n{end}{after}"
