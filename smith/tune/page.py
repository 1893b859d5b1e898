"""The page of a plan: what was tried, what was chosen and why, the plots, and code for a loop of one's own."""

import tempfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from smith.figures.report import site
from smith.figures.report.words import counted
from smith.lengths import duration
from smith.tune.plots import draw_training

if TYPE_CHECKING:
    from smith.tune.recipe import Plan, Trained

STYLE = Path(__file__).parents[1] / "figures" / "report" / "style.css"


def write(plan: "Plan", folder: Path, trained: "Trained | None") -> Path:
    """Writes the page, its plots and its style into a folder. Returns the page's path.

    Raises:
      UserError: the folder has files of these names that are not of such a page.
      OSError: nothing can be written there.
    """
    content = {"style.css": STYLE.read_bytes()}
    sections = []
    for number, step in enumerate(plan.steps, 1):
        name = f"{number}-{step.name.replace(' ', '-')}.png"
        content[name] = _drawn(step.found.plot)
        sections.append(
            f"<section><h2>{number}. {step.name.capitalize()}: {escape(step.chosen)}</h2>"
            f"<p>{escape(step.reason)}.</p>{_picture(name, step.name)}"
            f"<p>Cost: {step.iterations} iterations, {duration(step.seconds)}.</p></section>"
        )
    length = plan.length
    if trained:
        length = trained.run.length
        content["training.png"] = _drawn(lambda path: draw_training(trained.results, path))
        said = "".join(f"<li>seed {number}: {escape(str(one))}</li>" for number, one in enumerate(trained.clues))
        sections.append(
            f"<section><h2>Training</h2><p>{counted(len(trained.results), 'seed')}, {length}: "
            f"{trained}.</p>{_picture('training.png', 'training')}<ul>{said}</ul></section>"
        )
    code = f'<pre style="overflow-x:auto"><code>{escape(plan.code(length))}</code></pre>'
    sections.append(f"<section><h2>Elsewhere</h2>{code}</section>")
    cost = sum(step.iterations for step in plan.steps), duration(sum(step.seconds for step in plan.steps))
    content["index.html"] = _page(plan.task.name, cost, "\n".join(sections)).encode()
    site.publish(folder, content)
    return folder / "index.html"


def _page(name: str, cost: tuple[int, str], body: str) -> str:
    title = f"{escape(name)}: 1cycle by the recipe"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="style.css">
</head>
<body>
<main>
<h1>{title}</h1>
<p>What the steps of L. N. Smith's report (arXiv:1803.09820, section 5) find for this network and these data.
The search took {cost[0]} training iterations, {cost[1]}.</p>
{body}
</main>
</body>
</html>
"""


def _drawn(draw: Callable[[Path], None]) -> bytes:
    """Returns the bytes of a plot."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plot.png"
        draw(path)
        return path.read_bytes()


def _picture(name: str, what: str) -> str:
    return f'<p><img src="{name}" alt="Plot of the {what}" style="max-width:100%"></p>'
