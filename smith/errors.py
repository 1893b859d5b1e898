"""Mistakes a user can make, told in one line."""

import difflib
import re
from collections.abc import Iterable


class UserError(Exception):
    """Bad input. The message is one line: what is wrong and what to do. The command exits with status 2."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """Returns the error for a name that is not known, with the nearest known one."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else "known: " + ", ".join(names)
    return UserError(f"unknown {kind} {name!r}: {hint}")


def check_name(kind: str, name: object) -> None:
    """Raises UserError for the name of an experiment, or of what `kind` says, that can not be that of a file."""
    if not re.fullmatch(r"\w[\w.-]*", str(name)):
        raise UserError(f"{kind} {name!r}: files are named after it; use letters, digits, '-', '_' and '.' only")
