"""Speed of our training step and test, beside PyTorch's and beside what the machine can do.

Run:     python scripts/bench.py [--network shallow3 lenet] [--batch 128 512] [--test 500] [--compile] [--json FILE]
Cost:    about half a minute for each batch size of shallow3 and LeNet, minutes for the deep networks on a CPU
Expect:  a table; PyTorch's columns say "not installed" where it is not

Without --batch each network has the batch sizes that the experiments train it with; "mini/shallow3" is shallow3 in
miniature. Ours is the compiled step (or test) of `smith.train.step`, as `smith run` uses it; PyTorch's is the same
network from the same weights, on the same batch of random images, with the same solver. BatchNorm normalises over the
whole batch. The sides take turns (A, B, A, B), begin each turn with iterations that do not count, for the other's
threads to come to rest, and report the median turn. All run in a process prepared by
`smith.networks.cpu.prepare_process`. docs/performance.md says what each column is.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parent.parent))

import jax
import jax.numpy as jnp
import numpy as np

from scripts.bench_machine import Peaks, machine, peak_memory, roofline, summary
from smith import disk
from smith.data import Arrays
from smith.errors import UserError, unknown
from smith.networks import cpu
from smith.run import Run, iterations
from smith.scales import MINIATURES
from smith.train import step

TURNS, TURN_SECONDS = 7, 0.6  # turns of each side, and about how many seconds each takes
SLOW_TURNS = 3  # for a network that needs longer than a turn for an iteration
SETTLING = 3  # iterations at the beginning of a turn that do not count; 1 for a slow network
BATCHES = {
    "shallow3": [128, 512],
    "lenet": [512],
    "resnet-56": [512],
    "resnet-56-relu": [1000],
    "wide-32": [512],
    "densenet-40": [256],
}
BATCHES |= {f"mini/{name}": [64] for name in BATCHES}  # as `smith.scales` shrinks it
ALL_KEPT = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}  # as `smith.train.jobs.prepare` has it
HYPER = 1e-5, 0.9, 5e-4  # learning rate: so small that the random images do not diverge; momentum; weight decay

Side = Callable[[int], float]  # does so many iterations, and returns the last one's loss when they are done


@dataclass
class Row:
    """One line of the table. None: PyTorch is not there, was not asked for, or failed as `notes` say."""

    network: str = field(metadata={"unit": "name"})
    work: str = field(metadata={"unit": "train, or test (forward only)"})
    batch: int = field(metadata={"unit": "images"})
    ours: float = field(metadata={"unit": "images/s"})
    pytorch: float | None = field(metadata={"unit": "images/s, eager"})
    ratio: float | None = field(metadata={"unit": "ours / pytorch"})
    compiled: float | None = field(metadata={"unit": "images/s, torch.compile"})
    compiled_ratio: float | None = field(metadata={"unit": "ours / compiled"})
    loss: float = field(metadata={"unit": "nats, first iteration"})
    pytorch_loss: float | None = field(metadata={"unit": "nats, first iteration"})
    flops: float = field(metadata={"unit": "FLOP of an iteration, by XLA"})
    bytes_accessed: float = field(metadata={"unit": "bytes of an iteration, by XLA: an upper estimate"})
    roofline: float = field(metadata={"unit": "fraction: seconds the roofline would need / seconds measured"})
    memory: int | None = field(metadata={"unit": "bytes at the peak: the process's, or the GPU's"})
    compile_cold: float | None = field(metadata={"unit": "s, nothing compiled before"})
    compile_warm: float | None = field(metadata={"unit": "s, the compilation cache warm"})
    start_cold: float | None = field(metadata={"unit": "s, process start to the end of the first iteration"})
    start_warm: float | None = field(metadata={"unit": "s, the same, the compilation cache warm"})
    notes: list[str] = field(metadata={"unit": "text"})


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints. Exits with 2 and one line on bad input."""
    try:
        options = parse(arguments)
    except UserError as error:
        print(f"bench: {error}", file=sys.stderr)
        sys.exit(2)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # on a GPU the other processes need room too
    cpu.prepare_process()
    if options.start:
        return start(*options.start)
    peaks, rows = roofline(), []
    print(machine(), summary(peaks), header(), sep="\n", flush=True)
    for job in jobs(options):
        rows.append(measure(*job, peaks, options))
        print(line(rows[-1]), *(f"    {note}" for note in rows[-1].notes), sep="\n", flush=True)
    print("roofline: XLA's count of bytes is an upper estimate, and so is the fraction of what can be reached")
    if options.json:
        write(options.json, peaks, rows, options)


class Parser(argparse.ArgumentParser):
    """Raises mistakes instead of printing the usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see --help")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Returns the options. Raises UserError for a mistake."""
    parser = Parser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", default=list(BATCHES), metavar="NAME", help=f"of {', '.join(BATCHES)}")
    parser.add_argument("--batch", nargs="*", type=int, help="batch sizes in training (default: the experiments')")
    parser.add_argument("--test", nargs="*", type=int, default=[], help="batch sizes in testing: forward only")
    parser.add_argument("--turns", type=int, default=TURNS, help=f"of each side (default: {TURNS})")
    parser.add_argument("--seconds", type=float, default=TURN_SECONDS, help=f"of a turn (default: {TURN_SECONDS})")
    parser.add_argument("--compile", action="store_true", help="torch.compile too: minutes, and needs a C++ compiler")
    parser.add_argument("--bfloat16", action="store_true", help="PyTorch under bfloat16 autocast; ours stays float32")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table to this file too")
    parser.add_argument("--start", nargs=4, help=argparse.SUPPRESS)  # what a process of `starts` does
    options = parser.parse_args(arguments)
    for name in options.network:
        if name not in BATCHES:
            raise unknown("network", name, BATCHES)
    counts: list[int] = [options.turns, *(options.batch or []), *options.test]
    if min(counts) < 1 or options.seconds <= 0:
        raise UserError("--turns and batch sizes are 1 at least, --seconds more than 0")
    if options.json and not options.json.parent.is_dir():
        raise UserError(f"--json {options.json}: there is no folder {options.json.parent}")
    if (options.compile or options.bfloat16) and not has_pytorch():
        raise UserError("--compile and --bfloat16 need PyTorch, which is not installed")
    return options


def has_pytorch() -> bool:
    return importlib.util.find_spec("torch") is not None


def jobs(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yields (network, work, batch size) of each row."""
    for name in options.network:
        yield from ((name, "train", batch) for batch in (BATCHES[name] if options.batch is None else options.batch))
        yield from ((name, "test", batch) for batch in options.test)


def measure(name: str, work: str, batch: int, peaks: Peaks, options: argparse.Namespace) -> Row:
    """Returns a row: the speed of all sides at one network, kind of work and batch size, and what ours costs."""
    cold, warm, notes = starts(name, work, batch)
    ours = Ours(name, work, batch)
    sides: dict[str, Side] = {"ours": ours.run}
    with noting(notes, "PyTorch"):
        if has_pytorch():
            sides["pytorch"] = peer(ours, bfloat16=options.bfloat16)
    with noting(notes, "torch.compile"):
        if options.compile:
            side = peer(ours, bfloat16=options.bfloat16, compiled=True)
            side(1)
            sides["compiled"] = side
    losses = {side: run(1) for side, run in sides.items()}
    seconds = dict(zip(sides, take_turns(list(sides.values()), options.turns, options.seconds), strict=True))
    speeds: dict[str, float | None] = {side: batch / seconds[side] for side in sides}
    need = max(ours.flops / peaks.float32_product, ours.bytes_accessed / peaks.bandwidth)
    return Row(
        name,
        work,
        batch,
        ours=batch / seconds["ours"],
        pytorch=speeds.get("pytorch"),
        ratio=quotient(speeds, "pytorch"),
        compiled=speeds.get("compiled"),
        compiled_ratio=quotient(speeds, "compiled"),
        loss=losses["ours"],
        pytorch_loss=losses.get("pytorch"),
        flops=ours.flops,
        bytes_accessed=ours.bytes_accessed,
        roofline=need / seconds["ours"],
        memory=warm.get("memory"),
        compile_cold=cold.get("compile"),
        compile_warm=warm.get("compile"),
        start_cold=cold.get("start"),
        start_warm=warm.get("start"),
        notes=notes,
    )


def quotient(speeds: Mapping[str, float | None], side: str) -> float | None:
    ours, theirs = speeds["ours"], speeds.get(side)
    return ours / theirs if ours and theirs else None


@contextlib.contextmanager
def noting(notes: list[str], what: str) -> Iterator[None]:
    """Adds one line to `notes` if something fails, and goes on."""
    try:
        yield
    except Exception as error:  # whatever PyTorch raises: the other columns are still worth having
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        notes.append(f"{what} failed: {type(error).__name__}: {lines[0] if lines else ''}"[:200])


def take_turns(sides: list[Side], most: int, length: float) -> list[float]:
    """Returns the seconds that an iteration of each side takes: the median over its turns.

    most: how many turns a side has, or fewer; length: about how many seconds each takes
    """
    seconds = [turn(side, 1, settling=1) for side in sides]
    counts = [max(1, round(length / second)) for second in seconds]
    slow = max(seconds) > length
    turns, settling = (min(most, SLOW_TURNS), 1) if slow else (most, SETTLING)
    times = [[turn(side, count, settling) for side, count in zip(sides, counts, strict=True)] for _ in range(turns)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def turn(side: Side, count: int, settling: int) -> float:
    """Returns the seconds that one of `count` iterations takes, after some that do not count."""
    side(settling)
    began = time.perf_counter()
    side(count)
    return (time.perf_counter() - began) / count


def repeated(work: Callable[[], Any]) -> Side:
    """Returns what does so much work as it is told to."""

    def side(count: int) -> float:
        for _ in range(count):
            work()
        return 0.0

    return side


class Ours:
    """Our training step, or test, on one batch of random images.

    inputs: (batch, height, width, channels) float32, what the network gets; labels: (batch,) int32
    params: the parameters at the beginning; flops, bytes_accessed: of an iteration, by XLA's cost analysis
    compile_seconds: with tracing
    """

    def __init__(self, name: str, work: str, batch: int, hyper: tuple[float, float, float] = HYPER) -> None:
        self.description = run_of(name, batch)
        draw, data = np.random.default_rng(0), self.description.data
        images = draw.integers(0, 256, (batch, *self.description.image_shape), dtype=np.uint8)
        self.labels = draw.integers(0, 10, batch, dtype=np.int32)
        self.work, self.batch, self.hyper = work, batch, hyper
        self._problem = step.Problem.put(data, *[Arrays(images, self.labels)] * 2)
        self.inputs = np.asarray(self._problem.preprocess(self._problem.train_images))
        program, keys = step.program_of(self.description), step.keys_of(0)
        self._state, self._done = step.init(program, keys.init), 0
        self.params = jax.device_get(self._state.params)
        self._constant = np.array(hyper, np.float32), keys.noise
        self._orders = jnp.stack([jnp.arange(batch)] * 2)
        began = time.perf_counter()
        lowered = (
            step.train_step.lower(program, self._state, *self._arguments())
            if work == "train"
            else step.eval_step.lower(program, self._state, self._problem, 0, batch)
        )
        self._compiled = lowered.compile()
        self.compile_seconds = time.perf_counter() - began
        self.flops, self.bytes_accessed = cost(lowered, self._compiled)

    def _arguments(self) -> tuple[Any, ...]:
        return self._problem, self._orders, 0, self._done, *self._constant

    def run(self, count: int) -> float:
        """Does so many iterations, and returns the last one's mean loss, in nats, when they are done."""
        loss: Any = 0.0
        for _ in range(count):
            if self.work == "train":
                self._state, loss = self._compiled(self._state, *self._arguments())
                self._done += 1
            else:
                loss = self._compiled(self._state, self._problem, 0)[0] / self.batch
        jax.block_until_ready((self._state, loss))
        return float(loss)


def run_of(name: str, batch: int) -> Run:
    """Returns a run of a network of `BATCHES`."""
    network = name.removeprefix("mini/")
    run = Run("mnist" if network == "lenet" else "cifar10", network, batch, iterations(1), HYPER[0], solver="sgd")
    if network == name:
        return run
    small = MINIATURES[network, run.data]
    return run.replace(network=small.network, width=small.width, image_side=small.side)


def cost(lowered: Any, compiled: Any) -> tuple[float, float]:
    """Returns (FLOP, bytes accessed) of a program, by XLA's analysis.

    XLA may not count what a compiled program leaves to libraries (cuDNN, cuBLAS); then the FLOP before it are more.
    """
    before, after = lowered.cost_analysis() or {}, compiled.cost_analysis() or {}
    return max(before.get("flops", 0.0), after.get("flops", 0.0)), after.get("bytes accessed", 0.0)


def peer(ours: Ours, *, bfloat16: bool, compiled: bool = False) -> Side:
    """Returns PyTorch's side of the same work."""
    from scripts import bench_torch

    device = bench_torch.device_for(jax.default_backend())
    work = ours.description, ours.work, ours.inputs, ours.labels, ours.params, ours.hyper
    return bench_torch.Peer(*work, device=device, compiled=compiled, bfloat16=bfloat16).run


def starts(name: str, work: str, batch: int) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Starts two processes, the first with an empty compilation cache. Returns what `start` says in each, and notes."""
    found, notes = [], []
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(2):
            job = [name, work, str(batch), repr(time.time())]
            done = subprocess.run(
                [sys.executable, __file__, "--start", *job],
                env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, **ALL_KEPT},
                capture_output=True,
                text=True,
            )
            found.append(json.loads(done.stdout) if done.returncode == 0 else {})
            if done.returncode:
                last = (done.stderr.strip().splitlines() or [""])[-1]
                notes.append(f"a process of its own ended with status {done.returncode}: {last}"[:200])
    return found[0], found[1], notes


def start(name: str, work: str, batch: str, began: str) -> None:
    """Prints, as JSON, seconds to compile and from `began` to the first iteration's end, and bytes at the peak."""
    ours = Ours(name, work, int(batch))
    ours.run(1)
    seconds = time.time() - float(began)
    ours.run(1)
    print(json.dumps({"compile": ours.compile_seconds, "start": seconds, "memory": peak_memory()}))


def write(path: Path, peaks: Peaks, rows: Iterable[Row], options: argparse.Namespace) -> None:
    """Writes everything as JSON, whole: a reader sees the old file or the new one."""
    units = {each.name: each.metadata["unit"] for kind in (Peaks, Row) for each in fields(kind)}
    precision = {"ours": "float32", "pytorch": "bfloat16 autocast" if options.bfloat16 else "float32"}
    report = {"machine": machine(), "precision": precision, "units": units}
    report |= {"peaks": asdict(peaks), "rows": [asdict(row) for row in rows]}
    with disk.whole(path) as part:
        part.write_text(json.dumps(report, indent=1) + "\n")


def header() -> str:
    speeds = f"{'ours, img/s':>12} {'PyTorch':>13} {'ratio':>6} {'compiled':>9} {'ratio':>6}"
    costs = f"{'roofline':>9} {'memory':>9} {'compile cold, warm':>19} {'start cold, warm':>17}"
    return f"{'network':19} {'work':5} {'batch':>5} {speeds} {costs}"


def line(row: Row) -> str:
    """Returns a line of the table."""
    pytorch = shown(row.pytorch, ",.0f") if has_pytorch() else "not installed"
    speeds = f"{row.ours:12,.0f} {pytorch:>13} {shown(row.ratio, '.2f'):>6}"
    compiled = f"{shown(row.compiled, ',.0f'):>9} {shown(row.compiled_ratio, '.2f'):>6}"
    memory = shown(row.memory and row.memory / 2**30, ".2f")
    compiling = f"{shown(row.compile_cold, '.1f')}, {shown(row.compile_warm, '.1f')} s"
    starting = f"{shown(row.start_cold, '.1f')}, {shown(row.start_warm, '.1f')} s"
    costs = f"{shown(row.roofline, '.2f'):>9} {memory:>5} GiB {compiling:>19} {starting:>17}"
    return f"{row.network:19} {row.work:5} {row.batch:5} {speeds} {compiled} {costs}"


def shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


if __name__ == "__main__":
    main()
