"""Words and numbers for readers: values with a true minus sign, the settings of a run, an experiment's docstring."""

import dataclasses
import inspect
import math
import re
import statistics
from collections.abc import Sequence
from typing import Any

from smith.lengths import Length
from smith.run import Run, Snapshot
from smith.schedules import Constant


def number(value: float) -> str:
    """Returns a value with three significant digits; an en dash where there is none."""
    if not math.isfinite(value):
        return "\N{EN DASH}"
    if 999.5 <= abs(value) < 1_000_000:
        text = f"{value:,.0f}"
    else:
        mantissa, e, exponent = f"{value + 0.0:.3g}".partition("e")  # + 0.0: no minus before a zero
        text = mantissa + (f"e{int(exponent)}" if e else "")
    return text.replace("-", "\N{MINUS SIGN}")


def counted(count: int, noun: str) -> str:
    """Returns "1 seed" or "2 seeds"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def places(found: Sequence[float | None]) -> str:
    """Returns in how many seeds something begins, and the median of where, as a fraction of the training."""
    there = [place for place in found if place is not None]
    return f"{len(there)}, from {statistics.median(there):.0%} on" if there else "0"


NONE = {
    "test_images": "all",
    "start": "a fresh initialisation",
    "init": "each layer's own",
    "ghost_batch_size": "the whole batch",
}


def settings(run: Run) -> dict[str, str]:
    """Returns all settings of a run: a name and words for each."""
    found = {}
    for field in dataclasses.fields(run):
        value = getattr(run, field.name)
        text = NONE.get(field.name, "none") if value in (None, ()) else told(value)
        name = "learning rate" if field.name == "lr" else field.name.replace("_", " ")
        found[name] = text
    epochs = number(run.iterations / run.iterations_per_epoch)
    return found | {"length": f"{run.iterations:,} iterations ({epochs} epochs)", "key": run.key}


def told(value: Any) -> str:
    """Returns a setting in the run's own words: a schedule with its fields, a length with its unit."""
    if isinstance(value, Constant):
        return told(value.value)
    if isinstance(value, Length):
        return f"{value.value:,g} {value.unit}"
    if isinstance(value, Snapshot):
        return f"the state after {told(value.at)} of {value.run.key}"
    if isinstance(value, tuple):
        return ", ".join(map(told, value))
    if dataclasses.is_dataclass(value):
        fields = [(f.name, getattr(value, f.name), f.default) for f in dataclasses.fields(value)]
        inner = ", ".join(f"{name.replace('_', ' ')} {told(v)}" for name, v, default in fields if v != default)
        return f"{type(value).__name__}({inner})"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def notes(docstring: str | None) -> tuple[list[str], dict[str, str]]:
    """Returns what an experiment's docstring says below its first line: paragraphs, and entries such as "Expect"."""
    body = inspect.cleandoc(docstring or "").partition("\n")[2]
    first, *rest = re.split(r"^([A-Z][a-z]+):\s+(?=\S)", f"\n{body}", flags=re.MULTILINE)
    paragraphs, entries = [" ".join(text.split()) for text in re.split(r"\n\s*\n", first)], {}
    for name, text in zip(rest[::2], rest[1::2], strict=True):
        entries[name] = " ".join(filter(None, [entries.get(name, ""), " ".join(text.split())]))
    return list(filter(None, paragraphs)), entries
