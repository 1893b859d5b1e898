"""Fills in the paper's tables from results, as Markdown and as LaTeX."""

from collections.abc import Sequence
from pathlib import Path

from smith import disk
from smith.figure import Table
from smith.figures.points import Measured, measured
from smith.store import Store

DIGITS = {"mnist": 2}  # decimals of an accuracy in %, as the paper prints them; 1 where not named
NONE = "-"  # a number that there is none of, or that says nothing
HEAD = ("Ours, %", "Published, %", "Difference")


def write(table: Table, store: Store, folder: Path) -> None:
    """Writes a table as Markdown and LaTeX. Raises OSError if nothing can be written there."""
    rows, scale = measured(table, store), store.scale
    head = (*table.columns, *HEAD)
    lost = ("A seed that diverged counts as guessing.",) if any(one.diverged for one in rows) else ()
    caption = f"{table.title}. Scale {scale.name}{store.by}: {scale.describe(table.runs())}."
    for kind, as_text in (("md", markdown), ("tex", latex)):
        with disk.whole(folder / f"{table.name}.{kind}") as part:
            part.write_text(as_text(caption, head, body(rows), (*lost, *table.notes)), encoding="utf-8")


def body(rows: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Returns the cells of all rows."""
    return [(*one.row.labels, *entries(one)) for one in rows]


def entries(one: Measured) -> tuple[str, str, str]:
    """Returns what a row says: ours with its seeds, the paper's, and the difference."""
    digits = DIGITS.get(one.row.run.data, 1)
    published = f"{one.row.mean:.{digits}f} ± {one.row.deviation:.{digits}f}"
    if not one.values:
        return "no result", published, ""
    n = len(one.values)
    spread = f" ± {one.deviation:.{digits}f}" if n > 1 else ""
    lost = f", {one.diverged} diverged" if one.diverged else ""
    ours = f"{one.mean:.{digits}f}{spread} ({n} seed{'s' * (n > 1)}{lost})"
    return ours, published, f"{one.mean - one.row.mean:+z.{digits}f}" if one.as_published else NONE


def markdown(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Returns a table in Markdown, its last three columns to the right."""
    rule = ["---"] * (len(head) - len(HEAD)) + ["---:"] * len(HEAD)
    cells = [[cell.replace("|", r"\|") for cell in row] for row in (head, rule, *body)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([caption, "", *lines, *(f"\n{note}" for note in notes)]) + "\n"


def latex(caption: str, head: Sequence[str], body: Sequence[Sequence[str]], notes: Sequence[str] = ()) -> str:
    """Returns a table in LaTeX, for the package booktabs."""
    first, *others = (" & ".join(map(_escape, row)) + r" \\" for row in (head, *body))
    columns = "l" * (len(head) - len(HEAD)) + "r" * len(HEAD)
    start = [r"\begin{table}", rf"\caption{{{_escape(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    end = [r"\bottomrule", r"\end{tabular}", *(rf"\par {_escape(note)}" for note in notes), r"\end{table}", ""]
    return "\n".join([*start, r"\toprule", first, r"\midrule", *others, *end])


def _escape(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$"}
    return "".join(special.get(c, f"\\{c}" if c in "%&_#${}" else c) for c in text)
