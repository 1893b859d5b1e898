"""Training, from a list of runs to a file of results for each. Everything here needs JAX only when it trains.

optim.py        Caffe's solvers as Optax transformations, and the registry of solvers
step.py         the compiled step and test, and what they change
loop.py         the iterations of one run, and its tests
jobs.py         which runs are missing, and each of them from its lock to its result: start here
feed.py         what the loop is fed with: a dataset on the device, or batches from a disk
devices.py      the devices that share a batch, and what is said when they fail
hosts.py        several processes that share a batch
settings.py     what JAX and a CPU are set to, and what a result says of it
queue.py        the order of the runs, when other processes take some
places.py       where the runs under way are on disk
checkpoints.py  writing and reading them
timing.py       how long runs take
progress.py     what a person sees
stopping.py     signals, and budgets of time
workers.py      several processes of one command at once
engines.py      the same on Slurm or a Ray cluster
status.py       what there is, and what is damaged
"""
