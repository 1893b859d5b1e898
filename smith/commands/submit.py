"""The command that has others train: `smith submit`."""

from dataclasses import dataclass
from typing import Annotated

from smith import experiments
from smith.commands.options import Names, Training, choice, jobs_of, number
from smith.errors import UserError
from smith.lengths import seconds
from smith.train.engines import ENGINES, NOTICE

Engine = Annotated[str, choice("--engine", *ENGINES)]
Count = Annotated[int, number("--workers", 10_000)]
Gpus = Annotated[float, number("--gpus", 1_000, kind=float)]
Cpus = Annotated[int, number("--cpus", 1_000)]


@dataclass(frozen=True, kw_only=True)
class Submit(Training):
    """Start workers under Slurm or on a Ray cluster: each is a `smith run`, and is started again when it is cut off.

    They share the runs that have no result yet, by way of the folder of results. With Ray the command lasts as long as
    they do.
    """

    names: Names = ()
    engine: Engine = "slurm"  # what starts the workers: Slurm, Ray, or this machine without them
    workers: Count = 8  # how many; never more than there are runs
    time: str = "4h"  # after which Slurm starts a worker again, from its checkpoint; at least 5m
    partition: str = ""  # of Slurm
    address: str = ""  # of a Ray cluster; without it, one on this machine
    gpus: Gpus = 0  # GPUs of a worker; with Ray it may be a part of one
    cpus: Cpus = 0  # cores of a worker

    def __call__(self) -> None:
        from smith.train import engines, jobs

        found, store, limit = experiments.find(self.names), self.store(), seconds(self.time, "--time")
        if limit < 300:
            raise UserError(f"--time {self.time}: give at least 5m; a worker needs {NOTICE} s to stop")
        if not self.workers:
            raise UserError("--workers 0: give at least 1")
        if self.engine != "ray" and self.gpus % 1:
            raise UserError(f"--gpus {self.gpus:g}: give a whole number from 0; with --engine ray also a part of one")
        if self.cluster:
            raise UserError("--cluster is for the processes of one run: leave it out, workers share runs, not batches")
        self.times()
        seeds = self.seeds or store.scale.trained
        planned = jobs_of(found, store, seeds)
        if not (left := len(jobs.missing(planned, store))):
            return print(f"nothing to train: {len(planned)} runs were there")
        folder, workers = store.folder / "workers", min(self.workers, left)
        status = f"smith status {' '.join(self.names)}{store.options} --seeds {seeds} --watch"
        words, said = self.arguments(self.names), f"what they say is in {folder}; {status} says how far they are"
        if self.engine == "ray":
            print(f"{left} runs for {workers} workers; {said}", flush=True)
            return engines.submit_to_ray(words, workers, folder, self.address, self.gpus, self.cpus)
        resources = {"timeout_min": round(limit / 60), "gpus_per_node": int(self.gpus), "cpus_per_task": self.cpus}
        slurm = {"slurm_partition": self.partition, "slurm_signal_delay_s": NOTICE}
        started = engines.submit(words, workers, self.engine, folder, **resources, **slurm)
        print(f"{left} runs for {len(started)} workers: {', '.join(job.job_id for job in started)}\n{said}")
