"""The store: all results of one scale, each file read once, asked for by runs of the protocol.

It also remembers which run is trained for a run of the protocol, so that nothing else applies a scale or a recipe.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import shlex
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from smith import disk
from smith.errors import UserError, unknown
from smith.replicates import AUTHORS_RUNS, RECIPES
from smith.run import Run
from smith.scales import Scale
from smith.store import packs, results
from smith.store.results import DamagedResult, Result

FILES: dict[str, str] = {}  # experiments in files of one's own -> the files, as the command line has them


class Store:
    """The results of one scale.

    root: the folder that has a folder of results for each scale
    scale, folder: the scale, and its folder
    recipe: how the runs of a curve differ (see `smith.replicates`)
    seeds: how many seeds decide a claim, or as many as the recipe has runs
    one: what one of the runs of a curve is called
    by: what is said after the scale's name if that is not the seed alone: ", recipe author"
    damaged: a line for each file whose bytes are not those of a result, by its path
    unreadable: a line for each file that may be whole and can not be taken: not to be opened, of another version of
      the format, or under another run's name; by its path
    """

    def __init__(self, root: Path, scale: Scale, recipe: str = "seeds") -> None:
        """Raises UserError for an unknown recipe. Reads nothing yet."""
        if recipe not in RECIPES:
            raise unknown("recipe", recipe, RECIPES)
        self.root, self.scale, self.folder, self.recipe = root, scale, root / scale.name, recipe
        self._plain = recipe == "seeds"
        self.seeds = scale.seeds if self._plain else min(scale.seeds, AUTHORS_RUNS)
        self.by = "" if self._plain else f", recipe {recipe}"
        self.one = "seed" if self._plain else "author's run"
        self._trained: dict[tuple[Run, int], Run] = {}
        self._packs: dict[Path, int] = {}  # those that were read -> when they were written, in ns
        self.damaged: dict[Path, str] = {}
        self.unreadable: dict[Path, str] = {}

    # --- runs ---

    def trained(self, run: Run, seed: int = 0) -> Run:
        """Returns the run that is trained, with this seed, for a run of the protocol.

        Raises:
          UserError: the scale or the recipe can not hold the run.
        """
        number = 0 if self._plain else seed
        if (run, number) not in self._trained:
            self._trained[run, number] = self.scale.apply(RECIPES[self.recipe](run, number))
        return self._trained[run, number]

    def as_published(self, *runs: Run) -> bool:
        """Says whether all runs are trained as the paper has them, so that values can be compared with the paper's."""
        return self.scale.name == "paper" or all(self.trained(run) == run for run in runs)

    # --- results ---

    @functools.cached_property
    def _found(self) -> dict[tuple[str, int], Result]:
        """The readable results, by description and seed."""
        paths = disk.matching(self.folder, "*.parquet")
        paths.sort(key=lambda path: not packs.is_pack(path))  # of one date own files win
        newest: dict[tuple[str, int], Result] = {}
        for found in (found for path in paths for found in self._read(path)):
            other = newest.setdefault((found.description, found.seed), found)
            if found.facts.get("date", "") >= other.facts.get("date", ""):
                newest[found.description, found.seed] = found
        return newest

    def _read(self, path: Path) -> list[Result]:
        try:
            if packs.is_pack(path):
                self._packs[path] = path.stat().st_mtime_ns  # before it is read
                return packs.read(path)
            result = results.read(path)
            if not path.name.endswith(results.suffix(result.description, result.seed)):
                raise UserError(f"{path}: the file holds another run than its name says")
            return [result]
        except DamagedResult as error:
            self.damaged[path] = str(error)
        except UserError as error:
            self.unreadable[path] = str(error)
        except OSError as error:
            self.unreadable[path] = f"{path}: {error.strerror or error}"
        return []

    def _is_new(self, pack: Path) -> bool:
        """Says whether a pack is another one than was read."""
        with contextlib.suppress(FileNotFoundError):
            return self._packs.get(pack) != pack.stat().st_mtime_ns
        return False

    def check(self, own: Container[Path]) -> None:
        """Raises UserError if one of these files, or any pack, can not be read: a result may be in it."""
        if lines := [line for path, line in self.unreadable.items() if path in own or packs.is_pack(path)]:
            others = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
            advice = "it may be whole and is left alone: make it readable, or move it away to train it again"
            raise UserError(f"{lines[0]}{others}; {advice}")

    def find(self, run: Run, seed: int) -> Result | None:
        """Returns the result of a trained run and seed, or None if there is none that can be read."""
        return self._found.get((run.to_json(), seed))

    def results(self, run: Run) -> list[Result]:
        """Returns the results of a run of the protocol, by seed."""
        seeds = sorted({result.seed for result in self.all()})
        possible = [seed for seed in seeds if self._plain or seed < AUTHORS_RUNS]
        return [found for seed in possible if (found := self.find(self.trained(run, seed), seed))]

    def all(self) -> list[Result]:
        """Returns every readable result, in the order of the file names."""
        return list(self._found.values())

    def digest(self, runs: Iterable[Run]) -> str:
        """Returns the SHA-256 of all results of runs of the protocol: of what a picture of them shows."""
        content = hashlib.sha256()
        for result in (result for run in dict.fromkeys(runs) for result in self.results(run)):
            content.update(f"{result.description} {result.seed} {result.status}".encode())
            for name, values in sorted(result.columns.items()):
                content.update(name.encode() + values.tobytes())
        return content.hexdigest()

    def foreign(self) -> list[str]:
        """Returns a line for each result that names something that is not registered here. Its rows are whole."""
        lines, read = [], functools.cache(Run.from_json)  # the seeds of a run have one description
        for result in self.all():
            try:
                read(result.description)
            except UserError as error:
                lines.append(f"{self.folder}/*{results.suffix(result.description, result.seed)}: {error}")
        return lines

    def aside(self) -> list[Path]:
        """Returns the damaged files that were set aside."""
        return disk.matching(self.folder, "*.damaged-*")

    def look_again(self, run: Run, seed: int) -> Result | None:
        """Returns what `find` does, also if another process wrote the result after this store was read."""
        if not self.find(run, seed):
            own = results.path_of(self.folder, run, seed)
            others = [path for path in disk.matching(self.folder, "*.parquet") if packs.is_pack(path)]
            for path in [own] * disk.there(own) + [path for path in others if self._is_new(path)]:
                for result in self._read(path):
                    self._found.setdefault((result.description, result.seed), result)
        return self.find(run, seed)

    def add(self, result: Result) -> None:
        """Takes a result that was just written to the folder."""
        self._found[result.description, result.seed] = result

    def set_aside(self, path: Path) -> Path:
        """Renames a damaged file, so that it is kept for inspection and no longer taken for a result."""
        target = path.with_name(f"{path.name}.damaged-{secrets.token_hex(3)}")
        os.rename(path, target)
        self.damaged.pop(path, None)
        return target

    def pack(self, experiments: Mapping[str, Iterable[Run]]) -> str:
        """Moves the results that experiments ask for into packs, and says what was done.

        A result that several ask for goes with the first. What a pack has that nobody asks for stays in it. A result's
        own file is removed when its pack is written and reads back.

        experiments: name -> runs of the protocol

        Raises OSError where nothing can be written.
        """
        with disk.waiting(self.folder / "pack.lock"):  # another one that goes by what it read before would undo this
            return self._pack(experiments)

    def _pack(self, experiments: Mapping[str, Iterable[Run]]) -> str:
        packed: set[tuple[str, int]] = set()
        for name, runs in experiments.items():
            path = self.folder / f"{name}.parquet"
            before = self._read(path) if disk.there(path) else []
            asked = [result for run in runs for result in self.results(run) if len(result["iteration"])]
            keys = {(r.description, r.seed): r for r in (*before, *asked)}
            found = {key: self._found.get(key, result) for key, result in keys.items() if key not in packed}
            if not found or path in {*self.damaged, *self.unreadable}:
                continue
            packed |= set(found)
            with disk.whole(path) as part:
                part.write_bytes(packs.encode(list(found.values())))
                kept = {results.suffix(r.description, r.seed): r.facts for r in packs.read(part)}
            for own in disk.matching(self.folder, "*.parquet"):
                if (match := results.ENDING.search(own.name)) and match[0] in kept:
                    with disk.holding(self.folder / "locks" / f"{own.stem}.lock") as held:
                        if held and any(r.facts == kept[match[0]] for r in self._read(own)):  # else it is a newer one
                            disk.remove(own)
        size = sum(path.stat().st_size for path in disk.matching(self.folder, "*.parquet") if packs.is_pack(path))
        return f"{self.folder}: {len(packed)} results in packs, {size / 1e6:.1f} MB"

    # --- names ---

    def figures_folder(self, target: Path) -> Path:
        """Returns where figures go: the paper's scale right in `target`, others in a folder named for the scale."""
        name = self.scale.name if self._plain else f"{self.scale.name}-{self.recipe}"
        return target if name == "paper" else target / name

    @property
    def options(self) -> str:
        """The options of a command that is to work with these results."""
        recipe = "" if self._plain else f" --recipe {self.recipe}"
        elsewhere = self.root != Path("results")
        return f" --scale {self.scale.name}{recipe}" + f" --results-dir {shlex.quote(str(self.root))}" * elsewhere

    def command(self, *names: str) -> str:
        """Returns the command that trains experiments at this scale."""
        return f"smith run {' '.join(FILES.get(name, name) for name in names)}{self.options}"
