"""The order of runs: a process stays with what it has compiled, and leaves to others what they have in hand."""

from smith import Run, iterations
from smith.train.places import Job
from smith.train.queue import Queue

A, B, C = (Run("cifar10", network, 32, iterations(4), 0.1) for network in ("shallow3", "resnet-8", "wide-8"))
LOW = {run: run.replace(lr=0.01) for run in (A, B, C)}  # the same program
JOBS = [Job(run, seed) for seed in (0, 1) for run in (A, B, LOW[A], C, LOW[B], LOW[C])]


def order(statuses):
    queue, found = Queue(JOBS), []
    for job in queue:
        status = statuses.get(job, "done")
        found.append(job)
        queue.saw(job, status)
    assert sorted(found, key=JOBS.index) == JOBS
    return [job.run for job in found if job.seed == 0], [job.seed for job in found]


def test_runs_of_one_program_follow_each_other_and_seeds_come_one_after_the_other():
    assert order({}) == ([A, LOW[A], B, LOW[B], C, LOW[C]], [0] * 6 + [1] * 6)


def test_what_another_process_has_in_hand_comes_last():
    for status in ("busy", "found"):
        runs, seeds = order({Job(A, 0): status})
        assert runs == [A, B, LOW[B], C, LOW[C], LOW[A]] and seeds[0] == 0
