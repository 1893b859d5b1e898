"""Draws views with Matplotlib: a mean line, every seed as a thin one, the paper's curve dashed.

The same results give the same bytes. Pyplot is not used: neither a notebook's backend nor a user's style matters.
"""

import io
import os
import textwrap
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from smith import disk
from smith.figures.views import Series, View

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Sheet

STYLE = Path(__file__).parent / "smith.mplstyle"
KINDS = ("png", "svg")
CELL = (4.8, 3.9)  # inches of a panel
COMPANION = 0.6  # height of a companion, by that of its panel
Layout = tuple[tuple[float, float], list[float], list[tuple[int, int]]]  # size, heights of rows, places of the views
LEGEND = -0.45  # inches from the foot of an axis to its legend, with the ticks and the label between
LINE = 0.16  # inches of a legend's line: a panel grows by them where they are more than five
ASIDE = 0.15  # of a row of a table: ours is that much above its middle, the paper's as much below


def save(
    shown: Sequence[View],
    title: str,
    what: str,
    paths: Sequence[Path],
    *,
    of: str = "",
    columns: int = 2,
    cell: tuple[float, float] = CELL,
) -> None:
    """Draws views on one sheet and saves it to each path.

    Args:
      what: the lines below the title; wrapped.
      of: the digest of the results (see `Store.digest`), which a PNG carries.
      columns: how many views stand beside one another; the rows of a table always stand alone.
      cell: width and height of a view, in inches.
    """
    styles = _styles()
    with styles.context(["default", STYLE]):
        sheet = _sheet(shown, title, what, min(columns, sum(not view.companion for view in shown)), cell)
        for path in paths:
            _save(sheet, path, of)


def shows(picture: Path) -> str:
    """Returns the digest of the results that a PNG shows; empty if it is not there, or does not say it."""
    from PIL import Image

    try:
        with Image.open(picture) as image:
            return image.info.get("results", "")
    except (FileNotFoundError, Image.UnidentifiedImageError):
        return ""


def _styles() -> Any:
    """Returns matplotlib.style, loaded without the backend that a notebook's environment names.

    Matplotlib refuses to load if that backend is not installed beside it.
    """
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib.style

        return matplotlib.style
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def _sheet(shown: Sequence[View], title: str, what: str, columns: int, cell: tuple[float, float]) -> "Sheet":
    from matplotlib.figure import Figure as Sheet

    size, heights, places = _table_layout(shown) if shown[0].across else _layout(shown, columns, cell)
    columns = 1 + max(column for _, column in places)
    sheet = Sheet(figsize=size)
    axes = sheet.subplots(len(heights), columns, squeeze=False, gridspec_kw={"height_ratios": heights})
    last = {column: row for row, column in places}  # the parts of a table have one legend
    for place, view in zip(places, shown, strict=True):
        axis = axes[place[0], place[1]]
        _paint(axis, view)
        axis.set_title(textwrap.fill(view.heading, int(12 * min(size[0] / columns, CELL[0]))))
        if place[0] == last[place[1]] if view.across else not view.companion:
            _legend(axis, view)
    for place in {*np.ndindex(axes.shape)} - {*places}:
        empty: Any = axes[place[0], place[1]]
        empty.set_axis_off()
    lines = [line for text in (title, what) for line in textwrap.wrap(text, int(14 * size[0]))]
    sheet.suptitle("\n".join(lines), fontsize=9.5, x=0.01, ha="left")
    return sheet


def _layout(shown: Sequence[View], columns: int, cell: tuple[float, float]) -> Layout:
    """Returns the layout of panels: so many beside one another, each with its companion below it."""
    step = 2 if any(view.companion for view in shown) else 1
    places = [(step * (n // columns) + view.companion, n % columns) for n, view in _numbered(shown)]
    rows = _numbered(shown)[-1][0] // columns + 1
    longest = max(len(view.series) + len(view.notes) for view in shown)
    width, height = cell[0] * columns + (columns == 1), cell[1] * rows * (1 + COMPANION * (step - 1)) + 0.7
    height += LINE * rows * max(0, longest - 5)
    return (width, height), [1.0, COMPANION][:step] * rows, places


def _table_layout(shown: Sequence[View]) -> Layout:
    """Returns the layout of a table's parts: one below the other, each with its companion beside it."""
    heights = [len(view.x.ticks or ()) + 2.0 for view in shown if not view.companion]
    return (8.2, 0.3 * sum(heights) + 1.0), heights, [(n, int(view.companion)) for n, view in _numbered(shown)]


def _numbered(shown: Sequence[View]) -> list[tuple[int, View]]:
    """Returns views with their numbers from 0, companions with that of the view before."""
    return [(number - 1, view) for number, view in zip(accumulate(not v.companion for v in shown), shown, strict=True)]


def _save(sheet: "Sheet", path: Path, of: str) -> None:
    """Saves without a date, so that the same results give the same file; a PNG with 256 colours, a third as large."""
    with disk.whole(path) as part:
        if path.suffix == ".svg":
            sheet.savefig(part, format="svg", metadata={"Date": None})
            return
        from PIL import Image, PngImagePlugin

        pixels, said = io.BytesIO(), PngImagePlugin.PngInfo()
        said.add_text("results", of)
        sheet.savefig(pixels, format="png")
        image = Image.open(pixels).convert("RGB")
        pure = _pure()  # a palette's medians may be far from them
        few = image.quantize(256 - len(pure), Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        index, palette = np.array(few), (few.getpalette() or [])[: 3 * (256 - len(pure))]
        for colour in pure:
            index[(np.asarray(image) == colour).all(axis=-1)] = len(palette) // 3
            palette += colour
        few = Image.fromarray(index)
        few.putpalette(palette)
        few.save(part, "png", optimize=True, pnginfo=said)


def _pure() -> list[tuple[int, ...]]:
    """Returns the colours of curves, as they are, and white."""
    import matplotlib
    from matplotlib.colors import to_rgb

    colours = ["white", *matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]]
    return [tuple(round(255 * level) for level in to_rgb(colour)) for colour in colours]


# --- one panel ---


def _paint(axis: "Axes", view: View) -> None:
    for series in view.series:
        (_points if view.points else _curve)(axis, view, series)
    _frame(axis, view)
    if view.x.papers:
        _paper_axis(axis, view.x.log, *view.x.papers)
    if not view.points:
        _marks(axis, view)
    _words(axis, view)


def _curve(axis: "Axes", view: View, series: Series) -> None:
    colour = f"C{series.colour}"
    if series.published:
        axis.plot(*series.published, "--", color=colour, linewidth=0.8, alpha=0.8)
    for line in series.seeds.values() if len(series.seeds) > 1 else ():
        axis.plot(*line, color=colour, linewidth=0.5, alpha=0.55)
    style: dict[str, Any] = {"alpha": 0.3} if series.missing else {}
    style["marker"] = "o" if len(series.mean[0]) == 1 else ""  # a line of one point is none
    axis.plot(*series.mean, color=colour, markersize=4, label=_label(series.legend), **style)


def _points(axis: "Axes", view: View, series: Series) -> None:
    """Draws means with their standard deviations and every seed as a dot, on or beside the places of their runs."""
    aside = ASIDE if view.across else 0.0
    spread = "xerr" if view.across else "yerr"
    colour = f"C{series.colour}"

    def placed(line: tuple[np.ndarray, np.ndarray], by: float) -> tuple[np.ndarray, np.ndarray]:
        x, y = line[0] + by, line[1]
        return (y, x) if view.across else (x, y)

    if series.published:
        theirs = {spread: series.published_spread, "fmt": "s", "color": "0.55", "markersize": 4}
        axis.errorbar(
            *placed(series.published, aside),
            label=textwrap.fill(view.published, 36) if view.companion else view.published,
            **theirs,
        )
    for line in series.seeds.values() if len(series.seeds) > 1 else ():
        axis.plot(*placed(line, -aside), ".", color=colour, markersize=3.5, alpha=0.6)
    if view.companion:
        return
    kind = "mean and standard deviation" if series.spread is not None else "mean"
    name = f"{series.name}, {kind} of {view.one}s (dots)" if len(series.seeds) > 1 else series.name
    ours = {spread: series.spread, "fmt": "o" if view.across else "o-", "color": colour, "markersize": 4}
    axis.errorbar(*placed(series.mean, -aside), label=_label(name), **ours)


def _frame(axis: "Axes", view: View) -> None:
    """Labels, scales, ranges and ticks."""
    x, y = (view.y, view.x) if view.across else (view.x, view.y)
    axis.set_xlabel(x.label)
    if view.across:
        place = {"xycoords": "axes fraction", "xytext": (-8, 4), "textcoords": "offset points", "ha": "right"}
        axis.annotate(textwrap.fill(y.label, 32), (0, 1), fontsize=8, **place)
    else:
        axis.set_ylabel(textwrap.fill(y.label, 26 if view.companion else 40))
    for which, described in (("x", x), ("y", y)):
        if described.log and (described.range or np.isfinite(getattr(axis.dataLim, f"minpos{which}"))):
            getattr(axis, f"set_{which}scale")("log")
        if described.range:
            getattr(axis, f"set_{which}lim")(*described.range)
        if described.ticks is not None:
            named = not view.companion or described is not view.x  # else the rows beside it have the names
            names = [name if named else "" for name in described.ticks.values()]
            getattr(axis, f"set_{which}ticks")(list(described.ticks), names)
            getattr(axis, f"set_{which}ticks")([], minor=True)
        elif getattr(axis, f"get_{which}scale")() == "log":
            _log_ticks(getattr(axis, f"{which}axis"), getattr(axis, f"get_{which}lim")())


def _paper_axis(axis: "Axes", log: bool, label: str, factor: float) -> None:
    """Draws the paper's own horizontal axis above."""
    above = axis.secondary_xaxis("top", functions=(lambda x: np.multiply(x, factor), lambda x: np.divide(x, factor)))
    above.set_xlabel(label)
    if log:
        low, high = axis.get_xlim()
        _log_ticks(above.xaxis, (low * factor, high * factor))


def _log_ticks(side: Any, limits: tuple[float, float]) -> None:
    """Puts some four to eight numbers on a logarithmic axis: in equal steps where its ends are near each other."""
    from matplotlib.ticker import AutoLocator, FuncFormatter, LogLocator, NullFormatter

    low, high = limits
    span = high / low
    many, some = (1, 1.5, 2, 3, 4, 5, 6, 7, 8), (1, 1.5, 2, 3, 5, 7)
    numbers = many if span < 5 else some if span < 20 else (1, 2, 5) if span < 2_000 else (1,)
    first = 10.0 ** np.floor(np.log10(low))
    there = sum(low <= number * power <= high for number in numbers for power in (first, 10 * first))
    side.set_major_locator(AutoLocator() if span < 5 and there < 4 else LogLocator(subs=numbers))
    side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    side.set_minor_formatter(NullFormatter())


def _marks(axis: "Axes", view: View) -> None:
    """Marks at the top edge where a seed diverged (x), and where a mean leaves the axis (a triangle)."""
    top = axis.get_ylim()[1]
    for series in view.series:
        style = {"color": f"C{series.colour}", "linestyle": "none", "clip_on": False, "zorder": 5, "in_layout": False}
        for x, marker, size in ((list(series.diverged.values()), "x", 7.0), (view.above(series), "^", 3.5)):
            if len(x):
                axis.plot(x, [top] * len(x), marker=marker, markersize=size, **style)


def _words(axis: "Axes", view: View) -> None:
    if view.mark:
        axis.axvline(view.mark[0], color="0.6", linestyle=":", label=_label(view.mark[1]))
    for x, text in view.texts.items():
        axis.text(x, axis.get_ylim()[1], text, ha="center", va="top")


def _legend(axis: "Axes", view: View) -> None:
    """Puts the legend below the axes, where no curve is."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import ScaledTranslation

    if view.many and not view.points:
        means = any(len(series.mean[0]) for series in view.series)
        label = f"each {view.one}" + " (thick: their mean, while none has diverged)" * means
        axis.plot([], [], color="0.4", linewidth=0.5, label=label)
    if not view.points and any(series.diverged for series in view.series):
        axis.plot([], [], "x", color="0.4", label="top edge: one diverged there")
    if not view.points and any(len(view.above(series)) for series in view.series):
        axis.plot([], [], "^", color="0.4", markersize=3.5, label="top edge: the mean is above")
    if view.y.log and any((line[1] <= 0).any() for one in view.series for line in (one.mean, *one.seeds.values())):
        axis.plot([], [], " ", label="straight down: not above 0")
    if not view.points and view.published:
        axis.plot([], [], "--", color="0.4", linewidth=0.8, label=_label(view.published))
    handles, labels = axis.get_legend_handles_labels()
    for note in view.notes:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(_label(note))
    if labels:
        columns = 1 if max(map(len, labels)) > 30 else 2
        below = axis.transAxes + ScaledTranslation(0, LEGEND, axis.figure.dpi_scale_trans)
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": below, "borderaxespad": 0}
        axis.legend(handles, labels, ncols=columns, **place)


def _label(text: str) -> str:
    """Returns a text as a legend shows it, wrapped. Matplotlib would leave out what begins with an underscore."""
    wrapped = textwrap.fill(text, 64)
    return f" {wrapped}" if wrapped.startswith("_") else wrapped
