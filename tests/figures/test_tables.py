"""Tables as Markdown and LaTeX, from made-up results."""

import re

import pytest

from smith import figures
from smith.figure import Row
from smith.figures import points, tables
from smith.figures.points import Measured
from smith.run import Run, iterations

RUN = Run("cifar10", "shallow3", batch_size=16, length=iterations(80), lr=0.01)
MNIST = Run("mnist", "lenet", batch_size=16, length=iterations(80), lr=0.01)


def entries(*values: float, diverged: int = 0, run: Run = RUN, mean: float = 81.3) -> tuple[str, str, str]:
    return tables.entries(Measured(Row(("x",), run, mean, 0.1), dict(enumerate(values)), diverged))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (entries(81.0, 82.0, 83.0, 80.0), ("81.5 ± 1.3 (4 seeds)", "81.3 ± 0.1", "+0.2")),
        (entries(81.3), ("81.3 (1 seed)", "81.3 ± 0.1", "+0.0")),
        (entries(81.299), ("81.3 (1 seed)", "81.3 ± 0.1", "+0.0")),  # what rounds to nothing is not negative
        (entries(80.0, 10.0, diverged=1), ("45.0 ± 49.5 (2 seeds, 1 diverged)", "81.3 ± 0.1", "-36.3")),
        (entries(), ("no result", "81.3 ± 0.1", "")),
        (entries(99.25, 99.29, run=MNIST, mean=99.25), ("99.27 ± 0.03 (2 seeds)", "99.25 ± 0.10", "+0.02")),
    ],
)
def test_a_row_says_ours_the_papers_and_the_difference(found, expected):
    assert found == expected


def test_no_bar_leaves_its_axis(shelf, experiment):
    """The deviation of these seeds reaches beyond all of them."""
    table = experiment("table1")
    for run in table.runs():
        for seed in range(4):
            shelf.add(run, seed, "mini", test_accuracy=0.2 if seed else 0.9)
    for view in points.rows(table, shelf.store("mini"), published=True):
        (series,) = view.series
        line, spread = (series.published, series.published_spread) if view.companion else (series.mean, series.spread)
        low, high = view.y.range
        assert len(line[1]) and (low < line[1] - spread).all() and (line[1] + spread <= high).all()


def cells(text: str) -> list[list[str]]:
    """Returns the cells of a table in Markdown, the rule below its head included."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.startswith("| ") and line.endswith(" |") for line in lines)
    return [line[2:-2].split(" | ") for line in lines]


def test_a_table_is_four_files_the_same_every_time(shelf, experiment):
    table, drawn = experiment("table1"), []
    shelf.fill(table, seeds=2)
    for target in (shelf.root / "first", shelf.root / "second"):
        line = figures.draw(table, shelf.store(), target)
        assert line == f"table1: {target / 'table1'}.md (20 rows, scale paper)"
        drawn.append({path.name: path.read_bytes() for path in target.iterdir()})
    assert drawn[0] == drawn[1] and sorted(drawn[0]) == [f"table1.{kind}" for kind in ("md", "png", "svg", "tex")]
    head, rule, *body = cells(drawn[0]["table1.md"].decode())
    assert head == [*table.columns, "Ours, %", "Published, %", "Difference"] and rule[-3:] == ["---:"] * 3
    assert [tuple(row[:-3]) for row in body] == [row.labels for row in table.rows]
    assert body[0][-3:] == ["80.0 ± 0.0 (2 seeds)", "81.3 ± 0.1", "-1.3"]
    text = drawn[0]["table1.md"].decode()
    assert text.startswith(f"{table.title}. Scale paper:") and all(f"\n\n{note}\n" in text for note in table.notes)


def test_missing_rows_and_diverged_seeds_are_said(shelf, experiment):
    table = experiment("table1")
    shelf.add(table.rows[0].run, test_accuracy=0.815)
    shelf.add(table.rows[1].run, status="diverged", test_accuracy=0.5)
    line = figures.draw(table, shelf.store(), shelf.figures)
    assert line.endswith("(2 rows, scale paper, 18 without a result)")
    text = (shelf.figures / "table1.md").read_text()
    assert [row[3] for row in cells(text)[2:5]] == ["81.5 (1 seed)", "10.0 (1 seed, 1 diverged)", "no result"]
    assert "A seed that diverged counts as guessing." in text


def test_latex_is_balanced_and_escaped(shelf, experiment):
    table = experiment("table2")
    shelf.fill(table, "smoke")
    shelf.figures.mkdir()
    tables.write(table, shelf.store("smoke"), shelf.figures)
    text = (shelf.figures / "table2.tex").read_text()
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1] == ["table", "tabular"]
    assert text.count("{") == text.count("}") and not re.search(r"(?<!\\)[%#_]", text) and text.isascii()
    rows = [line for line in text.splitlines() if "&" in line]
    assert len(rows) == len(table.rows) + 1
    assert all(row.endswith(r" \\") and row.count(" & ") == len(table.columns) + 2 for row in rows)


def test_what_the_formats_would_take_for_their_own_is_escaped():
    text = tables.latex("50 % of a_b & #1 ${}\\", ("A", "x", "y", "z"), [("R&D", "1 ± 2", "100 %", "")])
    assert r"\caption{50 \% of a\_b \& \#1 \$\{\}\textbackslash{}}" in text
    assert r"R\&D & 1 $\pm$ 2 & 100 \% &  \\" in text
    assert r"| a\|b | 1 | 2 | 3 |" in tables.markdown("", ("A", "x", "y", "z"), [("a|b", "1", "2", "3")])
