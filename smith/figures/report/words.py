"""Words and numbers for readers: values with a true minus sign, schedules and settings of a run, docstrings."""

import dataclasses
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smith.lengths import Length
from smith.run import Run, Snapshot
from smith.schedules import Constant

MINUS = "\N{MINUS SIGN}"


def number(value: float | None, digits: int = 3, sign: str = "") -> str:
    """Returns a value with so many significant digits; an en dash where there is none.

    sign: "+" writes the sign of positive values too.
    """
    if value is None or not math.isfinite(value):
        return "\N{EN DASH}"
    if 1_000 <= abs(value) < 1_000_000:
        return f"{value:{sign},.0f}".replace("-", MINUS)
    text = f"{value + 0.0:{sign}.{digits}g}"  # + 0.0: no minus before a zero
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", MINUS)


def counted(count: int, noun: str, plural: str = "") -> str:
    """Returns "1 seed" or "2 seeds"."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def shortened(text: str, most: int = 80) -> str:
    """Returns a text, cut after a word with an ellipsis if it is longer than so many characters."""
    return text if len(text) <= most else text[: most - 1].rpartition(" ")[0].rstrip(",;") + "\N{HORIZONTAL ELLIPSIS}"


def joined(items: Sequence[str], most: int = 8) -> str:
    """Returns items joined by commas; of many the first ones, and how many more there are."""
    rest = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + rest


def described(value: Any) -> str:
    """Returns a setting in the run's own words: a schedule with its fields, a length with its unit."""
    if isinstance(value, Constant):
        return described(value.value)
    if isinstance(value, Length):
        return f"{value.value:,g} {value.unit}"
    if isinstance(value, Snapshot):
        return f"the state after {described(value.at)} of {value.run.key}"
    if isinstance(value, tuple):
        return f"({', '.join(map(described, value))})"
    if dataclasses.is_dataclass(value):
        fields = [(f.name, getattr(value, f.name), f.default) for f in dataclasses.fields(value)]
        inner = ", ".join(f"{name.replace('_', ' ')} {described(v)}" for name, v, default in fields if v != default)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return str(value)


LABELS = {"lr": "learning rate", "start": "starts from", "init": "initialisation"}
NONE = {
    "test_images": "all",
    "start": "a fresh initialisation",
    "init": "each layer's own",
    "ghost_batch_size": "the whole batch",
}


def label(field: str) -> str:
    """Returns what a field of a run, or one inside it, such as "lr.factor", is called."""
    return " ".join(LABELS.get(part, part.replace("_", " ")) for part in field.split("."))


def settings(run: Run) -> dict[str, str]:
    """Returns all settings of a run: a label and words for each."""
    found = {}
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        text = NONE.get(field.name, "none") if value is None else described(value)
        if field.name == "length":
            text = f"{run.iterations:,} iterations ({number(run.iterations / run.iterations_per_epoch)} epochs)"
        found[label(field.name)] = text
    return found


@dataclass(frozen=True)
class Notes:
    """What an experiment's docstring says: its first line, its paragraphs, and its entries such as "Expect"."""

    title: str
    paragraphs: tuple[str, ...]
    entries: Mapping[str, str]


def notes(docstring: str | None) -> Notes:
    """Reads an experiment's docstring."""
    title, _, body = inspect.cleandoc(docstring or "").partition("\n")
    paragraphs: list[str] = []
    entries: dict[str, str] = {}
    for block in re.split(r"\n\s*\n", body.strip()):
        starts = list(re.finditer(r"^([A-Z][a-z]+):\s+", block, re.MULTILINE))
        if not starts or starts[0].start():
            paragraphs.append(_flat(block[: starts[0].start()] if starts else block))
        for this, following in zip(starts, [*starts[1:], None], strict=False):
            text = _flat(block[this.end() : following.start() if following else None])
            entries[this[1]] = f"{entries[this[1]]} {text}" if this[1] in entries else text
    title = re.sub(r"^(Figure|Table) \d+: ", "", title)
    return Notes(title[:1].upper() + title[1:], tuple(p for p in paragraphs if p), entries)


def _flat(text: str) -> str:
    return " ".join(text.split())
