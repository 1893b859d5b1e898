"""Runs in the words of the paper's legends: names of curves, titles of panels, and `sweep`, which makes named runs."""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from smith.errors import UserError
from smith.metrics import ALWAYS, METRICS
from smith.run import Run
from smith.schedules import Constant, CyclicalMomentum, Multistep, OneCycle, RangeTest, Schedule, Triangular

NAMES = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "mnist": "MNIST", "imagenet": "ImageNet", "lenet": "LeNet"}
NAMES |= {"imagenet-resnet-50": "resnet-50"}
SHORT = {"lr": "LR", "momentum": "Mom", "weight_decay": "WD", "batch_size": "TBS"}
KINDS = {OneCycle: "1cycle", Triangular: "CLR", CyclicalMomentum: "CM"}


def sweep(base: Run, label: str, **fields: Sequence[Any] | Mapping[str, Any]) -> dict[str, Run]:
    """Returns a run for each value of a field, under its name in the legend.

    Args:
      label: the name, with a place for each field's value: "WD={}" or "TBS={}, LR={:g}".
      fields: the values of a field of `Run`, or text for the label -> value; several fields change together.

    Example:
      sweep(BASE, "WD={}", weight_decay=(1e-3, 3.2e-3)) has the runs "WD=1e-3" and "WD=3.2e-3".

    Raises:
      UserError: two runs of one name, or fields with different numbers of values.
    """
    for name, values in fields.items():
        if not hasattr(values, "__len__") or isinstance(values, str):
            raise UserError(f"sweep {label!r}: {name} {values!r}: give a tuple of values")
    counts = {name: len(values) for name, values in fields.items()}
    if len(set(counts.values())) != 1:
        raise UserError(f"sweep {label!r}: give each field the same number of values, not {counts}")
    shown = zip(*fields.values(), strict=True)  # of a mapping, its keys
    try:
        names = [_Label().vformat(label, texts, {}) for texts in shown]
    except (IndexError, KeyError, ValueError, TypeError) as error:
        raise UserError(f"sweep {label!r}: {error}: give a {{}} for each field, such as 'WD={{}}'") from error
    values = [list(given.values() if isinstance(given, Mapping) else given) for given in fields.values()]
    runs = [base.replace(**dict(zip(fields, row, strict=True))) for row in zip(*values, strict=True)]
    if len(set(names)) < len(runs):
        raise UserError(f"sweep {label!r}: two runs have the same name: {', '.join(names)}")
    return dict(zip(names, runs, strict=True))


class _Label(string.Formatter):
    """Formats "{}" as `written` does, and "{:g}" and the like as usual."""

    def format_field(self, value: Any, format_spec: str) -> str:
        return format(value, format_spec) if format_spec else written(value)


def written(value: Any) -> str:
    """Returns a value as the paper's legends have it: "1.8e-3", "0.9", "0.95-0.85"."""
    if isinstance(value, Constant):
        return written(value.value)
    if isinstance(value, CyclicalMomentum):
        return "-".join(f"{end:g}" for end in value.ends)
    if isinstance(value, OneCycle | Triangular):
        return f"{value.base:g}-{value.peak:g}"
    if isinstance(value, float) and 0 < value < 0.1:
        mantissa, exponent = f"{value:e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def settings(runs: Sequence[Run]) -> str:
    """Returns what runs have in common: "CIFAR-10, shallow3; LR range test, Mom=0.9, TBS=512"."""
    if not runs:
        return ""
    names = [[NAMES.get(name, name) for name in found] for found in ([r.data for r in runs], [r.network for r in runs])]
    where = ", ".join(" and ".join(dict.fromkeys(found)) for found in names)
    common = [_common([_setting(name, run) for run in runs]) for name in SHORT]
    common += ["from a snapshot"] * any(run.start for run in runs)
    return "; ".join(filter(None, (where, ", ".join(filter(None, common)))))


def _setting(name: str, run: Run) -> tuple[str, str]:
    """Returns (kind, text) of a run's setting: ("1cycle", "1cycle 0.1-1"), ("", "WD=1e-4")."""
    value, short = getattr(run, name), SHORT[name]
    if isinstance(value, RangeTest):
        return f"{short} range test", f"{short} range test"
    if type(value) in KINDS:
        kind = KINDS[type(value)]
        return kind, f"{kind}{' ' if kind == '1cycle' else '='}{written(value)}"
    if isinstance(value, Constant | Multistep):
        value = value.value
    if isinstance(value, Schedule):
        return str(value), f"{short} {value}"
    return "", f"{short}={value:g}" if name in ("lr", "batch_size") else f"{short}={written(value)}"


def _common(found: Sequence[tuple[str, str]]) -> str:
    """Returns the text that all have, or else the kind that all are of, or else nothing."""
    texts, kinds = {text for _, text in found}, {kind for kind, _ in found}
    if len(texts) == 1:
        return texts.pop()
    return kinds.pop() if len(kinds) == 1 else ""


def check_curves(label: str, curves: Any, shown: tuple[str, ...]) -> None:
    """Raises UserError for curves that are no runs by name, or that do not measure what is shown."""
    named = isinstance(curves, Mapping) and all(isinstance(n, str) and isinstance(r, Run) for n, r in curves.items())
    if not named:
        raise UserError(f"panel {label}: its curves are a dictionary of names and runs, as in {{'1cycle': RUN}}")
    for name in ("sharpness" if name == "stability" else name for name in shown):
        if name in METRICS and name not in ALWAYS and (lack := [n for n, r in curves.items() if name not in r.metrics]):
            raise UserError(f"panel {label}: {name} is not measured in {lack[0]!r}: put it into metrics of that Run")
