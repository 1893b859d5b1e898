"""Two real processes that share each batch, one of them the leader."""

import signal
import socket

import pytest
from processes import ALWAYS, Place
from small import FAMILY, SMALL_RUN

from smith.errors import UserError
from smith.run import iterations
from smith.store import results
from smith.train import hosts

LONG = SMALL_RUN.replace(length=iterations(150))


def start_both(place: Place, *runs, **options) -> list:
    """Starts two processes of one command. Returns the leader and the follower."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    more = options.pop("more", ())
    return [place.start(*runs, more=(*more, "--cluster", f"{k}/2@{address}"), **options) for k in (0, 1)]


def rows(place: Place) -> dict[str, dict]:
    return {path.name: results.read(path).columns for path in place.results.rglob("*.parquet")}


def test_two_processes_train_what_one_does(place, undisturbed):
    leader, follower = start_both(place, *FAMILY)
    assert (leader.wait(), follower.wait()) == (0, 0), leader.err + follower.err
    assert "2 runs trained" in leader.out and "trained" not in follower.out
    assert place.files() == undisturbed.files()
    expected = rows(undisturbed)
    for name, columns in rows(place).items():
        for column, values in columns.items():
            assert values == pytest.approx(expected[name][column], rel=1e-5, nan_ok=True)
    assert {results.read(path).facts["device_count"] for path in place.results.rglob("*.parquet")} == {"2"}


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


@pytest.mark.parametrize("victim", [pytest.param(0, marks=pytest.mark.slow), 1])
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
