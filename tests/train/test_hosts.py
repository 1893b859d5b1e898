"""Two real processes that share each batch, one of them the leader."""

import signal
import socket

import pytest
from processes import ALWAYS, Place
from small import SMALL_RUN

from smith.errors import UserError
from smith.run import Snapshot, iterations
from smith.scales import SCALES
from smith.store import Store
from smith.train import hosts, jobs
from smith.train.places import Job
from smith.train.progress import Display

NARROW = SMALL_RUN.replace(width=1 / 8, train_images=500)
FAMILY = (NARROW, NARROW.replace(weight_decay=1e-2, start=Snapshot(NARROW, at=iterations(5))))
LONG = SMALL_RUN.replace(length=iterations(150))


def start_both(place: Place, *runs, **options) -> list:
    """Starts two processes of one command. Returns the leader and the follower."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    more = options.pop("more", ())
    return [place.start(*runs, more=(*more, "--cluster", f"{k}/2@{address}"), **options) for k in (0, 1)]


@pytest.mark.slow
def test_two_processes_train_what_one_does(place, data_dir):
    leader, follower = start_both(place, *FAMILY, more=["--no-draw"])
    assert (leader.wait(), follower.wait()) == (0, 0), leader.err + follower.err
    assert "2 runs trained" in leader.out and "trained" not in follower.out
    alone, together = (Store(folder, SCALES["paper"]) for folder in (place.root / "alone", place.results))
    jobs.execute([Job(run, 0) for run in FAMILY], alone, data_dir, Display(quiet=True))
    assert sorted(path.suffix for path in together.folder.iterdir()) == [".parquet"] * 2
    for run in FAMILY:
        expected, found = (store.find(run, 0) for store in (alone, together))
        assert found.facts["device_count"] == "2"
        for column, values in found.columns.items():
            assert values == pytest.approx(expected[column], rel=1e-5, nan_ok=True)


@pytest.mark.slow
def test_a_signal_to_the_leader_stops_both_and_the_run_goes_on_from_its_checkpoint(place):
    leader, follower = start_both(place, LONG, slow=[0.05], more=ALWAYS, often=[])
    leader.reaches(place.checkpoints)
    leader.send(signal.SIGTERM)
    assert (leader.wait(60), follower.wait(60)) == (143, 0), leader.err + follower.err
    assert place.checkpoints()
    leader, follower = start_both(place, LONG)
    assert (leader.wait(), follower.wait()) == (0, 0), leader.err + follower.err
    assert "goes on from its checkpoint at iteration" in leader.err


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_process_that_dies_ends_the_other_within_a_minute(place, victim):
    both = start_both(place, LONG, slow=[0.05], more=ALWAYS, often=[])
    both[0].reaches(place.checkpoints)
    both[victim].send(signal.SIGKILL)
    assert both[victim].wait() == -signal.SIGKILL
    assert both[1 - victim].wait(60) != 0
    if victim == 1:  # JAX may end a follower itself, with a line of its own
        assert "smith: the device failed" in both[0].err and "goes on from the last checkpoint" in both[0].err
    assert place.checkpoints() and not list(place.results.rglob("*.parquet"))


@pytest.mark.parametrize("cluster", ["2/2@localhost:1", "0/2", "0/2@localhost", "x", "-1/2@localhost:1"])
def test_what_can_not_be_read_is_told(cluster):
    with (
        pytest.raises(UserError, match=f"--cluster {cluster}: give auto, or such as 0/2@HOST:1234"),
        hosts.joined(cluster),
    ):
        pass
