"""Several processes, on one host or on several, that share each batch. The first one leads and the others follow.

The leader alone plans, holds the locks, writes and draws. It tells the followers of each run, and all train it on their
devices, step for step: XLA adds up what they find. What is told goes through the service by which JAX's processes find
each other. A process that dies ends the others, and the same command goes on from the last checkpoint.
"""

import contextlib
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from smith.errors import UserError
from smith.run import Run
from smith.train import stopping

if TYPE_CHECKING:
    from smith.train.feed import Streamed
    from smith.train.loop import Point
    from smith.train.step import Problem, TrainState

# Seconds without a sign of life after which a process counts as dead; and for taking leave of the others.
TIMEOUTS: dict[str, Any] = {"heartbeat_timeout_seconds": 30, "shutdown_timeout_seconds": 30}
LEAST = 4  # iterations from the word to stop to the stop: a follower may be 3 further than the leader is

_told = itertools.count()  # numbers of the runs that were told, or heard of


@contextlib.contextmanager
def joined(cluster: str) -> Iterator[bool]:
    """Inside, this process is one of several. Gives whether another one leads. Does nothing for "".

    Args:
      cluster: "auto" where JAX knows the others, as under Slurm, Open MPI and Kubernetes; or such as
        "0/2@localhost:1234", the first process of two, with the leader's host and a free port there.

    Raises:
      UserError: it can not be read, or the others are not there.
    """
    if not cluster:
        yield False
        return
    import jax

    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from `smith.train.stopping`
    try:
        jax.distributed.initialize(**_settings(cluster), **TIMEOUTS)
    except (ValueError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        raise UserError(f"--cluster {cluster}: {line}; all processes have to be started within five minutes") from error
    leads = jax.process_index() == 0
    try:
        yield not leads
    except OSError as error:
        if isinstance(error.__cause__, jax.errors.JaxRuntimeError):  # another process died: it can not take its leave
            print(f"smith: {error}; the same command goes on from the last checkpoint", file=sys.stderr, flush=True)
            os._exit(1)
        raise
    finally:
        if leads:
            _tell(next(_told), "end")
        jax.distributed.shutdown()


def _settings(cluster: str) -> dict[str, Any]:
    if cluster == "auto":
        return {}
    found = re.fullmatch(r"(\d+)/(\d+)@([^@]+:\d+)", cluster)
    if not found or not int(found[1]) < int(found[2]):
        raise UserError(f"--cluster {cluster}: give auto, or such as 0/2@HOST:1234 and 1/2@HOST:1234")
    numbers = {"process_id": int(found[1]), "num_processes": int(found[2])}
    return numbers | {"coordinator_address": found[3], "cluster_detection_method": "deactivate"}


def train(
    run: Run, seed: int, problem: "Problem | Streamed", begin: "Point | None" = None, until: int | None = None
) -> "Generator[Point]":
    """Does what `loop.train` does, with the followers if there are any. For the leader."""
    import jax

    from smith.train import loop

    if not jax.distributed.is_initialized():
        yield from loop.train(run, seed, problem, begin, until)
        return
    number = next(_told)
    at = (begin.iteration, begin.last_test) if begin else None
    _tell(number, json.dumps({"run": run.to_json(), "seed": seed, "at": at, "until": until}))
    if begin:
        begin = begin._replace(state=_shared(begin.state))
    points = loop.train(run, seed, problem, begin, until)
    iteration = begin.iteration if begin else 0
    try:
        for point in points:
            iteration = point.iteration
            yield point
    finally:  # whoever asks for no more points stops the followers too
        _tell(f"{number} stop", str(iteration + LEAST))
        _go_on(points, lambda: iteration + LEAST)


def follow(problem_of: "Callable[[Run], Problem | Streamed]", like: "Callable[[Run], TrainState]") -> None:
    """Trains what the leader tells, until it says that this was all.

    Args:
      problem_of: returns a run's dataset.
      like: returns the shapes and types of a run's arrays.
    """
    import jax
    import numpy as np

    from smith.train import loop

    while (told := _hear(number := next(_told))) != "end":
        said = json.loads(told)
        run, begin = Run.from_json(said["run"]), None
        problem = problem_of(run)
        if said["at"]:
            empty = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like(run))
            begin = loop.Point(said["at"][0], _shared(empty), said["at"][1])
        with stopping.run_in_hand():  # a signal waits for the leader, who got it too
            _go_on(loop.train(run, said["seed"], problem, begin, said["until"]), lambda: _stop(number))


def _go_on(points: "Iterator[Point]", end: Callable[[], int | None]) -> None:
    for point in points:
        last = end()
        if last is not None and point.iteration >= last:
            return


def _shared(state: Any) -> Any:
    """Returns the leader's arrays."""
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(state)


def _service() -> Any:
    import jax

    try:
        from jax._src import distributed  # the only way there is to it, which Orbax goes too

        return distributed.global_state.client
    except (ImportError, AttributeError) as error:
        raise UserError(f"--cluster does not know JAX {jax.__version__}: install that of requirements.txt") from error


def _tell(what: int | str, text: str) -> None:
    _service().key_value_set(f"smith {what}", text)


def _hear(what: int) -> str:
    """Returns what was told, and waits for it. A signal is heard meanwhile."""
    while (text := _asked(lambda key: _service().blocking_key_value_get(key, 1_000), f"smith {what}")) is None:
        pass
    return text


def _stop(number: int) -> int | None:
    """Returns the iteration after which a run ends, if that was told."""
    text = _asked(_service().key_value_try_get, f"smith {number} stop")
    return int(text) if text else None


def _asked(ask: Callable[[str], str], key: str) -> str | None:
    import jax

    try:
        return ask(key)
    except jax.errors.JaxRuntimeError as error:
        if not re.match("NOT_FOUND|DEADLINE_EXCEEDED", str(error)):
            raise
        return None
