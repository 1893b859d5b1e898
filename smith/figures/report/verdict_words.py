"""Claims and verdicts in words: rows of the tables of claims, in the report and in the README."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smith import disk
from smith.analysis.verdicts import Decision, Finding
from smith.errors import UserError
from smith.figures.report import words

SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "○"}
STATES = {"supported": "✓", "contradicted": "✗", "open": "○"}
BEGIN, END = "<!-- claims -->", "<!-- /claims -->"


@dataclass(frozen=True)
class PartView:
    """A finding in words. Empty where there is nothing to say."""

    what: str
    unit: str
    effects: Sequence[str]
    effect: str
    threshold: str
    published: str
    state: str
    symbol: str
    reason: str


def part(finding: Finding) -> PartView:
    """Returns a finding in words."""
    effects = [f"seed {seed}: {words.number(value)}" for seed, value in finding.effects.items()]
    return PartView(
        finding.part.what,
        finding.part.unit,
        effects,
        effect(finding),
        words.number(finding.part.above),
        "" if finding.published is None else words.number(finding.published),
        finding.state,
        STATES[finding.state],
        finding.reason,
    )


def effect(finding: Finding) -> str:
    """Returns "0.12 [0.05, 0.19]": the mean over seeds and its 95 % interval; empty without a result."""
    if not finding.effects:
        return ""
    if not np.isfinite(finding.mean):
        return "not defined"
    text = words.number(finding.mean)
    if np.isfinite(finding.low) and np.isfinite(finding.high):
        text += f" [{words.number(finding.low)}, {words.number(finding.high)}]"
    return text


def verdict(decision: Decision) -> str:
    """Returns the verdict with its symbol."""
    return f"{SYMBOLS[decision.verdict]} {decision.verdict}"


def summary(decisions: Sequence[Decision]) -> str:
    """Returns how many claims have each verdict."""
    counts = {name: sum(d.verdict == name for d in decisions) for name in SYMBOLS}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def has_results(decision: Decision) -> bool:
    """Says whether there is any effect to show."""
    return any(finding.effects for finding in decision.findings)


def markdown(decisions: Sequence[Decision]) -> str:
    """Returns the README's table of claims."""
    lines = ["| | claim | verdict | effect [95 % interval] | seeds | scale |", "|---|---|---|---|---|---|"]
    for decision in decisions:
        there = [finding for finding in decision.findings if finding.effects]
        effects = "<br>".join(effect(finding) for finding in there)
        part = f" ({len(there)} of {len(decision.findings)} parts)" if len(there) < len(decision.findings) else ""
        cells = [
            decision.claim.name,
            decision.claim.says,
            verdict(decision),
            effects + part if there else "no result",
            f"{min((len(finding.effects) for finding in there), default=0)}",
            decision.scale if there else "none yet",
        ]
        lines.append("| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def with_claims(readme: str, decisions: Sequence[Decision], name: str = "README.md") -> str:
    """Returns a README with its table of claims replaced.

    Raises:
      UserError: the marks that the table stands between are not there, or not once and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise UserError(f"{name}: no place for the claims; it needs one line {BEGIN} and, below it, one line {END}")
    return f"{before}{begin}\n{markdown(decisions)}\n{end}{after}"


def update_readme(path: Path, decisions: Sequence[Decision]) -> bool:
    """Replaces the table of claims in a README, whole. Returns whether anything changed. Raises UserError."""
    try:
        old = path.read_bytes().decode("utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: no README that can be read") from error
    new = with_claims(old, decisions, str(path))
    if new == old:
        return False
    with disk.whole(path) as part:
        part.write_bytes(new.encode("utf-8"))
    return True
