"""Rules for the fields of a schedule, as parts of their types: `base: Rate` is a finite number of at least 0."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, get_type_hints

from smith.errors import UserError
from smith.lengths import Time

MOST = 3e38  # of float32


@dataclass(frozen=True)
class Rule:
    """What a field of a schedule may be: in words, and as a function."""

    words: str
    holds: Callable[[Any], bool]


def _number(words: str, holds: Callable[[Any], bool]) -> Rule:
    def right(value: Any) -> bool:
        return -MOST < value < MOST and holds(value)

    return Rule(words, lambda value: isinstance(value, Real) and right(value))


Rate = Annotated[float, _number("a number of at least 0", lambda value: value >= 0)]
Share = Annotated[float, _number("a number from 0 to 1", lambda value: 0 <= value <= 1)]
Divisor = Annotated[float, _number("a number above 0", lambda value: value > 0)]
Anneal = Annotated[Literal["cosine", "linear"], Rule("'cosine' or 'linear'", ("cosine", "linear").__contains__)]
Shape = Annotated[
    Literal["sqrt", "linear", "cosine"], Rule("'sqrt', 'linear' or 'cosine'", ("sqrt", "linear", "cosine").__contains__)
]
Times = Annotated[tuple[Time, ...], Rule("a tuple of times, as in (0.5, 0.75)", lambda value: isinstance(value, tuple))]


def check(described: Any) -> None:
    """Raises UserError for the first field of a dataclass that does not follow the rules of its type."""
    for name, hint in _hints(type(described)).items():
        for rule in getattr(hint, "__metadata__", ()):
            value = getattr(described, name)
            if isinstance(rule, Rule) and not rule.holds(value):
                raise UserError(f"{name} {value!r} of {type(described).__name__}: give {rule.words}")


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except NameError:  # somebody's own class, whose types are not to be found
        return {}
