"""The experiments: every file of experiments/, and any file that is named on the command line.

An experiment is a file with a FIGURE or a TABLE. It goes by the name of that, whatever the file is called. CLAIMS in it
are claims of its own, which are decided as the paper's are. Loading it also registers the networks, datasets, solvers,
schedules and metrics that it brings along.
"""

import hashlib
import importlib.util
import shlex
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from smith.errors import UserError, unknown
from smith.figure import Figure, Table
from smith.store.store import FILES

FOLDER = Path(__file__).resolve().parent.parent / "experiments"


@dataclass(frozen=True)
class Experiment:
    """A figure or a table, its name, and the path, the docstring and the claims of the file where it was found."""

    shows: Figure | Table
    path: Path
    doc: str
    claims: Sequence[Any] = ()  # smith.analysis.verdicts.Claim

    @property
    def name(self) -> str:
        return self.shows.name


_own: set[Path] = set()  # files that were loaded
_running: dict[Path, Experiment] = {}  # of files that run as a program, which are not loaded a second time


def find(names: Sequence[str]) -> list[Experiment]:
    """Returns experiments by name or by the path of their file; "all" are those of the folder experiments/.

    Of these "paper" are the paper's own, and "beyond" those with claims of their own, which come last in "all".

    Raises:
      UserError: no name, an unknown one, a file that can not be loaded, or two experiments of one name.
    """
    every = [found for path in sorted(FOLDER.glob("[!_]*.py")) for found in _load(path)]
    known = _by_name(sorted(every, key=lambda one: bool(one.claims)))
    paper, beyond = ([one for one in known.values() if bool(one.claims) == own] for own in (False, True))
    groups = {"all": [*known.values()], "paper": paper, "beyond": beyond}
    if not names:
        raise UserError(f"name experiments, paths of files, or {', '.join(groups)}: {' '.join(known)}")
    chosen: list[Experiment] = []
    for name in names:
        if name.endswith(".py"):
            if not Path(name).is_file():
                raise UserError(f"{name}: there is no such file")
            if not (found := _load(Path(name).resolve())):
                raise UserError(f"{name}: an experiment has a FIGURE or a TABLE, made by smith.Figure or smith.Table")
            chosen += found
            FILES.update({one.name: shlex.quote(name) for one in found if one.name not in known})
        elif name not in {*known, *groups}:
            raise unknown("experiment", name, [*known, *groups])
        else:
            chosen += groups[name] if name in groups else [known[name]]
    _by_name([*known.values(), *chosen])
    return list(_by_name(chosen).values())


def running(shows: Figure | Table, module: ModuleType) -> Path:
    """Makes the experiment of a file that runs as a program known under the file's path, which is returned."""
    path = Path(module.__file__ or f"{shows.name}.py").resolve()
    _own.add(path)
    _running[path] = Experiment(shows, path, module.__doc__ or "", getattr(module, "CLAIMS", ()))
    return path


def _by_name(experiments: Iterable[Experiment]) -> dict[str, Experiment]:
    named: dict[str, Experiment] = {}
    for one in experiments:
        other = named.setdefault(one.name, one)
        if other.path != one.path:
            raise UserError(f"{other.path} and {one.path} are both named {one.name!r}: give one another name")
    return named


def _load(path: Path) -> list[Experiment]:
    """Returns the experiments in a file: none, one, or a figure and a table. Raises UserError if it can not be run."""
    if path in _running:
        return [_running[path]]
    module = _loaded(path)
    shown = (vars(module).get(name) for name in ("FIGURE", "TABLE"))
    claims = vars(module).get("CLAIMS", ())
    if not isinstance(claims, tuple) or not all(hasattr(claim, "parts") for claim in claims):
        raise UserError(f"{path}: CLAIMS are a tuple of smith.analysis.verdicts.Claim")
    found = [one for one in shown if isinstance(one, Figure | Table)]
    return [Experiment(one, path, module.__doc__ or "", () if n else claims) for n, one in enumerate(found)]


def task(path: Path) -> Any:
    """Returns the TASK of a file (see `smith.tune.Task`). Raises UserError if it has none or can not be run."""
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    found = vars(_loaded(path.resolve())).get("TASK")
    if not (hasattr(found, "base") and hasattr(found, "store")):
        raise UserError(f"{path}: there is no TASK in it, made by smith.Task")
    return found


def _loaded(path: Path) -> ModuleType:
    """Returns the module of a file. Raises UserError, with the line, if it can not be run."""
    try:
        _own.add(path)
        return _import(path)
    except (Exception, SystemExit) as error:
        raise UserError(_said(error, path) or f"{path}: {_line(error)}") from error


def told(error: Exception) -> str:
    """Returns the line for what the code of an experiment's file raised later, or "" if none of it did."""
    return next(filter(None, (_said(error, path) for path in _own)), "")


def _said(error: BaseException, path: Path) -> str:
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f"{path}, line {lines[-1]}: {_line(error)}" if lines else ""


def _line(error: BaseException) -> str:
    kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
    return f"{kind}{' '.join(str(error).split())[:300]}"


def _import(path: Path) -> ModuleType:
    """Returns the module of a file. One of the folder is loaded once, any other one anew."""
    ours = path.parent == FOLDER
    name = f"experiments.{path.stem}" if ours else path.stem
    loaded = sys.modules.get(name)
    if loaded and getattr(loaded, "__file__", None) != str(path):  # another module of that name
        name += "_" + hashlib.sha256(bytes(path)).hexdigest()[:6]
    elif loaded and ours:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    if not ours and str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # its neighbours can be imported, as when it runs as a program
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]  # else the next import would take half of it for the whole
        raise
    return module
