"""How long runs take: measured while they are trained, and estimated from what was measured before."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from smith import disk
from smith.data import DATASETS
from smith.errors import UserError
from smith.networks import Options
from smith.run import Run
from smith.store import Store, results
from smith.train.progress import Ahead, Pace

if TYPE_CHECKING:
    from smith.train.loop import Point
    from smith.train.places import Job

TEST = 1 / 3  # of the time of a training image, which a test image takes
FURTHEST = 10  # times the FLOP of any network with a result: of a larger one no time is told
AHEAD = 3  # iterations that are under way or begin before the next point


class Clock:
    """Measures how long a run takes, apart from its first iteration, which is mostly compilation, and its tests."""

    def __init__(self, before: Mapping[str, float]) -> None:
        """before: what `read` returned when the run was stopped that goes on now."""
        self._before = before
        self._start = self._last = time.perf_counter()
        self._running: float | None = None  # since the end of the first iteration
        self._test: float | None = None  # since when a test is made
        self._tests, self._iterations, self._pace = 0.0, 0, 0.0

    def saw(self, point: "Point") -> float:
        """Takes note of a point. Returns how many seconds may pass before the next one can be a checkpoint."""
        if point.testing and self._test is None:
            point.state.loss_sum.block_until_ready()  # the iterations before it are not part of it
        now = time.perf_counter()
        if point.testing:
            self._test = self._test or now
        elif point.row and self._test is not None:
            self._tests, self._test = self._tests + now - self._test, None
        elif point.loss is not None and self._running is None:
            point.loss.block_until_ready()
            now = self._running = self._last = time.perf_counter()
            self._tests = 0.0
        elif point.loss is not None:
            self._iterations += 1
        self._pace = max(now - self._last, 0.8 * self._pace)
        self._last = now
        return AHEAD * self._pace

    def read(self) -> dict[str, float]:
        """Returns seconds in all, of the first iteration and of training, and the iterations that training means."""
        now = time.perf_counter()
        running = self._running or now
        spent = {
            "seconds": now - running,
            "compile_seconds": running - self._start,
            "training_seconds": now - running - self._tests,
            "timed_iterations": self._iterations,
        }
        return {name: value + self._before.get(name, 0.0) for name, value in spent.items()}


def facts(run: Run, timing: Mapping[str, float]) -> dict[str, float]:
    """Returns what a result's metadata says of its time, from what a clock read."""
    rate = timing["timed_iterations"] * run.batch_size / max(timing["training_seconds"], 1e-9)
    return {
        "seconds": round(timing["seconds"], 3),
        "compile_seconds": round(timing["compile_seconds"], 3),
        "images_per_second": round(rate, 1),
    }


class Series:
    """How far a series of jobs is, by what anybody has trained of it since it began."""

    def __init__(self, jobs: "Iterable[Job]", store: Store) -> None:
        self._store, self._began = store, time.perf_counter()
        self._names = {job: results.path_of(store.folder, job.run, job.seed).name for job in jobs}
        self._before = self._there()

    def ahead(self, todo: "Collection[Job]", now: Pace | None = None) -> Ahead:
        """Returns how many jobs are done, and how long the others take.

        todo: the jobs not known to be done; now: the pace of one that is under way
        """
        new = self._there() - self._before
        for job in (job for job, name in self._names.items() if name in new):
            self._store.look_again(job.run, job.seed)  # what another process has learnt of how long runs take
        left = [job for job, name in self._names.items() if job in todo and name not in new]
        known = past(self._store)
        seconds, spent = (estimate(jobs, known, now, flops) for jobs in (left, self._names.keys() - {*left}))
        if seconds and spent:
            seconds *= (time.perf_counter() - self._began) / spent  # several processes, or a busier machine
        return Ahead(len(self._names) - len(left), len(self._names), seconds)

    def _there(self) -> set[str]:
        return {path.name for path in disk.matching(self._store.folder, "*.parquet")}


def flops(run: Run) -> float:
    """Returns the FLOP of training on one image of a run. Imports JAX."""
    from smith.train import step

    return step.flops(run.network, run.class_count, Options(width=run.width, image_shape=run.image_shape))


class Past(NamedTuple):
    """What a store's results took, the newest of each kind.

    rates: network and width -> images/s, those of tests counted a third, and a run that had that rate
    compiling: what decides how long a run compiles -> seconds to its first iteration
    """

    rates: dict[tuple[str, float], tuple[float, Run]]
    compiling: dict[tuple[str, float, int], float]


def past(store: Store) -> Past:
    """Returns what the results in a store took."""
    found, newest = Past({}, {}), {}
    for result in sorted(store.all(), key=lambda result: result.facts.get("date", ""), reverse=True):
        newest.setdefault(result.description, result)
    for result in newest.values():
        with contextlib.suppress(UserError):  # foreign
            run, facts = result.run, result.facts
            found.compiling.setdefault(program(run), float(facts.get("compile_seconds", 0)))
            if seconds := float(facts.get("seconds", 0)):
                done = _images(run, int(result["iteration"][-1]), len(result["iteration"]))
                found.rates.setdefault((run.network, run.width), (done / seconds, run))
    return found


def _images(run: Run, upto: int, tests: int) -> float:
    """Returns on how many images a run trains up to an iteration; those of its tests count a third."""
    every = DATASETS[run.data].test_images
    return (upto - run.first_iteration) * run.batch_size + TEST * tests * min(run.test_images or every, every)


def program(run: Run) -> tuple[str, float, int]:
    """Returns what decides how long a run compiles."""
    return run.network, run.width, run.batch_size


def estimate(
    jobs: "Iterable[Job]",
    known: Past,
    now: Pace | None = None,
    count: Callable[[Run], float] | None = None,
    assumed: float = 0.0,
) -> float | None:
    """Returns how many seconds the jobs will take, by what is known of others. None if that does not say.

    Args:
      now: the pace of a run that is under way.
      count: counts the FLOP of an image, for networks without a result.
      assumed: the FLOP/s that those are taken to reach; 0 for the most that another does, as small ones reach few.
    """
    rates, seconds, programs = dict(known.rates), 0.0, set()
    if now and (kind := (now.run.network, now.run.width)) not in rates:
        rates[kind] = now.run.batch_size / now.seconds, now.run
    measured = [*rates.values()]
    for run in (job.run for job in jobs):
        kind = run.network, run.width
        if kind not in rates and count:
            if not assumed and count(run) > FURTHEST * max((count(one) for _, one in measured), default=0.0):
                return None
            speeds = [rate * count(other) for rate, other in rates.values()] or [0.0]
            rates[kind] = (assumed or max(speeds)) / count(run), run
        if not rates.get(kind, (0.0,))[0]:
            return None
        seconds += _images(run, run.iterations, len(run.when_tested())) / rates[kind][0]
        programs.add(program(run))
    return seconds + sum(known.compiling.get(found, 0.0) for found in programs)
