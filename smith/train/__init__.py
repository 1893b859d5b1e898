"""Training, from a list of runs to a file of results for each. Everything here needs JAX only when it trains.

optim.py        Caffe's solvers as Optax transformations, and the registry of solvers
step.py         the compiled step and test, and what they change
loop.py         the iterations of one run, and its tests
jobs.py         which runs are missing, and each of them from its lock to its result: start here
devices.py      starting JAX's device, and what is said when it fails
places.py       where the runs under way are on disk
checkpoints.py  writing and reading them
timing.py       how long runs take
progress.py     what a person sees
stopping.py     signals, and budgets of time
workers.py      several processes at once
status.py       what there is, and what is damaged
"""
