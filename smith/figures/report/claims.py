"""Claims and verdicts in words and small pictures, for the report and for the README."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from smith.analysis.verdicts import Decision, Finding
from smith.errors import UserError
from smith.figures.report import words

SYMBOLS = {"reproduced": "✓", "not reproduced": "✗", "inconclusive": "○"}
STATES = {"supported": "✓", "contradicted": "✗", "open": "○"}
BEGIN, END = "<!-- claims -->", "<!-- /claims -->"
WIDTH, HEIGHT, EDGE = 320.0, 46.0, 12.0  # of a picture


def verdict(decision: Decision) -> str:
    """Returns the verdict with its symbol."""
    return f"{SYMBOLS[decision.verdict]} {decision.verdict}"


def summary(decisions: Sequence[Decision]) -> str:
    """Returns how many claims have each verdict."""
    counts = {name: sum(d.verdict == name for d in decisions) for name in SYMBOLS}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def there(decision: Decision) -> list[Finding]:
    """Returns the findings that have an effect to show."""
    return [finding for finding in decision.findings if finding.effects]


def effect(finding: Finding) -> str:
    """Returns "0.12 [0.05, 0.19]": the mean over seeds and its 95 % interval; empty without a result."""
    if not finding.effects:
        return ""
    if not np.isfinite(finding.mean):
        return "not defined"
    ends = [words.number(value) for value in (finding.low, finding.high)]
    return words.number(finding.mean) + (f" [{', '.join(ends)}]" if np.isfinite(finding.low) else "")


def seeds(finding: Finding) -> str:
    """Returns the effect of each seed, in words."""
    return ", ".join(f"seed {seed}: {words.number(value)}" for seed, value in finding.effects.items())


def picture(finding: Finding) -> Markup:
    """Returns the effects as a picture: a dot for every seed, the interval, the bar to clear, the paper's own value."""
    published = np.nan if finding.published is None else finding.published
    marks = [*finding.effects.values(), finding.low, finding.high, published, finding.part.above]
    finite = [value for value in marks if np.isfinite(value)]
    if not np.isfinite(finding.mean):
        return Markup("")
    low, span = min(finite), (max(finite) - min(finite)) or 1.0

    def at(value: float) -> str:
        return f"{EDGE + (value - low) / span * (WIDTH - 2 * EDGE):.1f}"

    bar, y = at(finding.part.above), HEIGHT / 2 - 6
    shapes = [
        f'<rect class="beyond" x="{bar}" y="0" width="{WIDTH - float(bar):.1f}" height="{2 * y:g}"/>',
        f'<path class="bar" d="M{bar} 0V{2 * y:g}"/>',
        _text(finding.part.above, bar),
    ]
    if np.isfinite(finding.low):
        shapes.append(f'<path class="interval" d="M{at(finding.low)} {y:g}H{at(finding.high)}"/>')
    shapes.append(f'<path class="mean" d="M{at(finding.mean)} {y - 8:g}v16"/>')
    shapes += [f'<circle cx="{at(v)}" cy="{y:g}" r="3"/>' for v in finding.effects.values() if np.isfinite(v)]
    if np.isfinite(published):
        shapes.append(f'<path class="published" d="M{at(published)} {y - 5:g}l5 5-5 5-5-5z"/>')
    label = f"effect {effect(finding)}; it must exceed {words.number(finding.part.above)}"
    size = f'viewBox="0 0 {WIDTH:g} {HEIGHT:g}"'
    return Markup(f'<svg class="effects" {size} role="img" aria-label="{escape(label)}">{"".join(shapes)}</svg>')


def _text(value: float, x: str) -> str:
    """Returns a number under its place."""
    near = {True: "start", False: "middle"}[float(x) < 40]
    anchor = "end" if float(x) > WIDTH - 40 else near
    return f'<text x="{x}" y="{HEIGHT - 3:g}" text-anchor="{anchor}">{escape(words.number(value))}</text>'


# --- the README ---


def markdown(decisions: Sequence[Decision]) -> str:
    """Returns the README's table of claims."""
    lines = ["| | claim | verdict | effect [95 % interval] | seeds | scale |", "|---|---|---|---|---|---|"]
    for decision in decisions:
        found = there(decision)
        part = f" ({len(found)} of {len(decision.findings)} parts)" if len(found) < len(decision.findings) else ""
        effects = "<br>".join(map(effect, found)) + part if found else "no result"
        count = f"{min((len(finding.effects) for finding in found), default=0)}"
        scale = decision.scale if found else "none yet"
        cells = [decision.claim.name, decision.claim.says, verdict(decision), effects, count, scale]
        lines.append("| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(lines)


def with_claims(readme: str, decisions: Sequence[Decision], name: str) -> str:
    """Returns a README with its table of claims replaced. name: what the file is called, for the message.

    Raises:
      UserError: the marks that the table stands between are not there, or not once and in order.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        raise UserError(f"{name}: no place for the claims; it needs one line {BEGIN} and, below it, one line {END}")
    return f"{before}{begin}\n{markdown(decisions)}\n{end}{after}"
