"""Real `smith run` processes on a few small runs, for tests that kill them, stop them and let several work at once.

As a program: `python processes.py TRICKS ARGUMENTS` is `smith ARGUMENTS` after the tricks, which are functions of this
file with their arguments, as JSON: {"slow": [0.1]}.
"""

import errno
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from smith.run import Run
from smith.store import results

ALWAYS = ("--checkpoint-every", "0s")  # a checkpoint whenever one can be made
ROOT = Path(__file__).resolve().parent.parent
EXPERIMENT = """
from smith.figure import Figure, Panel
from smith.run import Run

RUNS = {{str(number): Run.from_json(text) for number, text in enumerate({!r})}}
FIGURE = Figure("mine", "A few small runs", panels=(Panel("a", RUNS),))
"""

# --- tricks: called before the program begins ---


def often() -> None:
    """Checkpoints may take all the time."""
    from smith.train import checkpoints

    checkpoints.SHARE = 1e9


def slow(seconds: float) -> None:
    """Each iteration takes so long, so that the process can be hit in training."""
    from smith.train import loop

    train_step = loop.step.train_step
    loop.step.train_step = lambda *args: (time.sleep(seconds), train_step(*args))[1]


def killed_at_change(number: int, folder: str) -> None:
    """The process is killed just before it changes something in a folder for the `number`-th time."""
    count = itertools.count(1)

    def hook(event: str, args: tuple) -> None:
        if _changed(event, args).startswith(folder) and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def failing(words: str) -> None:
    """There is no room for files and folders whose path has `words` in it."""

    def hook(event: str, args: tuple) -> None:
        if event in ("open", "os.mkdir") and re.search(words, path := _changed(event, args)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)


def _changed(event: str, args: tuple) -> str:
    """Returns the path of the file or folder that is going to be made, written, renamed or removed, else ""."""
    if event == "open":
        flags = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND
        if isinstance(args[0], int) or not (set(args[1] or "") & set("wax+") or args[2] & flags):
            return ""
    elif event not in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
        return ""
    return os.fsdecode(args[0])


# --- processes ---


def search_path() -> str:
    """Returns a PYTHONPATH with which other processes import this code from any folder."""
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def python(*arguments: object, cwd: Path | None = None, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs Python in a process of its own, with further environment variables, and returns what came of it."""
    command, environment = [sys.executable, *map(str, arguments)], os.environ | {"PYTHONPATH": search_path()}
    return subprocess.run(command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=300)


def until(there: Callable[[], object], seconds: float = 120) -> None:
    """Waits until something is there. Fails if it takes longer."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end, [(str(path), path.read_text()[-2000:]) for path in Path().rglob("*_log.*")]
        time.sleep(0.05)


class Process:
    """A `smith run` with its output."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        self._process = subprocess.Popen(command, env=environment, **pipes)
        self.out = self.err = ""

    def reaches(self, there: Callable[[], object]) -> None:
        """Waits until something is there. Fails if the process ends before."""
        while not there():
            assert self._process.poll() is None, self._process.communicate()
            time.sleep(0.005)

    def send(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self, seconds: float = 120) -> int:
        """Returns its status, or minus the number of the signal that killed it."""
        self.out, self.err = self._process.communicate(timeout=seconds)
        return self._process.returncode

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    @property
    def done(self) -> list[str]:
        """The keys of the runs that it trained."""
        return [line.split()[1] for line in self.err.splitlines() if line.startswith(("done ", "diverged "))]


class Place:
    """Folders for results and figures, and the processes that work on them."""

    def __init__(self, root: Path, data_dir: Path) -> None:
        self.root, self.data_dir, self.processes = root, data_dir, []
        self.results, self.figures = root / "results", root / "figures"
        self.folder = self.results / "paper"

    def start(self, *runs: Run, more: Sequence[str] = (), **tricks: list) -> Process:
        """Starts a process that trains runs at the paper's scale with one seed, and draws them."""
        experiment = self.root / "mine.py"
        experiment.write_text(EXPERIMENT.format([run.to_json() for run in runs]))
        words = ["run", str(experiment), "--scale", "paper", *([] if "--seeds" in more else ["--seeds", "1"]), *more]
        for name, folder in (("results", self.results), ("figures", self.figures), ("data", self.data_dir)):
            words += [f"--{name}-dir", str(folder)]
        command = [sys.executable, str(Path(__file__)), json.dumps(tricks), *words]
        self.processes.append(Process(command, os.environ | {"PYTHONPATH": search_path()}))
        return self.processes[-1]

    def finish(self, *runs: Run, **options) -> Process:
        """Does what `start` does, and waits until the process has ended well."""
        process = self.start(*runs, **options)
        assert process.wait() == 0, process.err
        return process

    def checkpoints(self) -> list[Path]:
        """The complete checkpoints."""
        return [path.parent for path in self.folder.glob("checkpoints/*/[0-9]*/manifest.json")]

    def files(self) -> list[str]:
        """The files of results and figures, without what a killed process left of a part, which goes after an hour."""
        found = [path.relative_to(self.root) for path in self.root.rglob("*") if path.is_file()]
        folders = self.results.name, self.figures.name
        return sorted(str(p) for p in found if p.parts[0] in folders and not any(n.endswith(".part") for n in p.parts))

    def columns(self) -> dict[str, tuple]:
        """The results: their status and the bytes of all columns."""
        found = {path.name: results.read(path) for path in sorted(self.results.rglob("*.parquet"))}
        return {name: (r.status, *(v.tobytes() for v in r.columns.values())) for name, r in found.items()}

    def assert_as(self, undisturbed: "Place") -> None:
        """The results are all there, equal to the bit, so are the figures, and nothing else is."""
        assert self.files() == undisturbed.files(), {*self.files()} ^ {*undisturbed.files()}
        assert self.columns() == undisturbed.columns()
        for path in undisturbed.figures.rglob("*.*"):
            assert (self.figures / path.relative_to(undisturbed.figures)).read_bytes() == path.read_bytes()


if __name__ == "__main__":
    for trick, arguments in json.loads(sys.argv[1]).items():
        globals()[trick](*arguments)
    from smith.cli import main

    main(sys.argv[2:])
