"""Locks: one process at a time, whoever is killed, on one machine or several."""

import errno
import os
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from smith import locks
from smith.disk import Owner
from smith.locks import Lock, waiting

ROOT = Path(locks.__file__).parents[1]


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where a lock belongs. What a test leaves held is forgotten."""
    path = tmp_path / "locks" / "a.lock"
    yield path
    for held in [held for held in Lock._held if held.is_relative_to(tmp_path)]:
        Lock._held.discard(held)


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return Owner(Owner.here().host, process.pid)


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Returns a function that starts Python with some code, after imports, and arguments."""
    started = []

    def start(code: str, *words: object) -> subprocess.Popen[str]:
        head = "import sys, time; from pathlib import Path; from smith import locks; from smith.locks import Lock\n"
        command = [sys.executable, "-c", head + code, *map(str, words)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    """Returns the next line a process writes."""
    assert process.stdout
    return process.stdout.readline().strip()


def leave(path: Path, owner: object, seconds: float = 0) -> None:
    """Leaves a lock that was touched some seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(str(owner))
    then = time.time() - seconds
    os.utime(path, (then, then))


def eventually(condition: Callable[[], bool], seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


LIVING = Owner(Owner.here().host, os.getppid())
ELSEWHERE = Owner("elsewhere.1", os.getpid())
HOLD = "lock = Lock(Path(sys.argv[1])); print(lock.acquire(), flush=True); sys.stdin.readline()\n"


# Exclusion.


def test_a_lock_is_had_once_and_again_after_its_release(path):
    first, second = Lock(path), Lock(path)
    assert first.acquire()
    assert not second.acquire()
    assert not first.acquire()
    first.release()
    assert second.acquire()
    assert not first.acquire()
    second.release()
    assert first.acquire()


def test_two_locks_have_nothing_to_do_with_each_other(path):
    first, second = Lock(path), Lock(path.with_name("b.lock"))
    assert first.acquire() and second.acquire()
    first.release()
    assert first.holder() == "" and second.holder() == str(Owner.here())


def test_a_lock_says_who_has_it(path):
    lock = Lock(path)
    assert lock.holder() == ""
    lock.acquire()
    assert Lock(path).holder() == str(Owner.here())
    lock.release()
    assert lock.holder() == ""


def test_a_release_leaves_nothing_behind_but_other_locks(path):
    first, second = Lock(path), Lock(path.with_name("b.lock"))
    first.acquire(), second.acquire()
    first.release()
    assert os.listdir(path.parent) == ["b.lock"]
    second.release()
    assert not path.parent.exists()


def test_a_refusal_leaves_nothing_behind(path):
    leave(path, LIVING)
    assert not Lock(path).acquire()
    assert os.listdir(path.parent) == ["a.lock"]
    assert path.read_text() == str(LIVING)


def test_another_process_has_it_until_it_releases_it(path, python):
    other = python(HOLD + "lock.release(); print('released', flush=True); sys.stdin.readline()", path)
    assert line(other) == "True"
    assert not Lock(path).acquire()
    assert Lock(path).holder() == str(Owner(Owner.here().host, other.pid))
    print(file=other.stdin, flush=True)
    assert line(other) == "released"
    assert Lock(path).acquire()


def test_this_process_has_it_for_another(path, python):
    lock = Lock(path)
    lock.acquire()
    assert line(python(HOLD, path)) == "False"
    lock.release()
    assert line(python(HOLD, path)) == "True"


def test_a_killed_process_loses_it_at_once(path, python):
    other = python(HOLD, path)
    assert line(other) == "True"
    other.kill()
    other.communicate()
    assert Lock(path).acquire()
    assert Lock(path).holder() == str(Owner.here())


def test_threads_of_a_process_exclude_each_other(path, monkeypatch):
    create = Lock._create

    def slowly(place: Path) -> bool:
        made = create(place)
        if made and place.suffix == ".lock":
            time.sleep(0.05)
        return made

    monkeypatch.setattr(Lock, "_create", staticmethod(slowly))
    for number in range(5):
        barrier, taken = threading.Barrier(8), []
        place = path.with_name(f"{number}.lock")

        def work(place=place, barrier=barrier, taken=taken) -> None:
            barrier.wait()
            taken.append(Lock(place).acquire())

        threads = [threading.Thread(target=work) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert taken.count(True) == 1


# Stale locks.


def test_a_lock_of_an_ended_process_is_taken_over(path, dead):
    leave(path, dead)
    assert Lock(path).acquire()
    assert path.read_text() == str(Owner.here())
    assert os.listdir(path.parent) == ["a.lock"]
    assert not Lock(path).acquire()


@pytest.mark.parametrize("owner", [LIVING, ELSEWHERE, "", "what?", "\0\xff" * 500], ids=str)
def test_a_lock_is_taken_over_when_it_was_not_touched_for_long(path, owner):
    leave(path, owner, locks.STALE - 20)
    assert not Lock(path).acquire()
    leave(path, owner, locks.STALE + 20)
    assert Lock(path).acquire()
    assert path.read_text() == str(Owner.here())


def test_a_lock_of_a_process_elsewhere_is_not_judged_by_its_number(path, dead):
    leave(path, Owner("elsewhere.1", dead.pid))
    assert not Lock(path).acquire()


def test_a_lock_that_an_earlier_process_of_the_same_number_left_is_taken_over(path):
    leave(path, Owner.here())
    assert Lock(path).acquire()
    assert not Lock(path).acquire()


def test_a_lock_of_ones_own_is_not_stale_until_its_release(path):
    lock = Lock(path)
    lock.acquire()
    assert not Lock(path).acquire()
    lock.release()
    leave(path, Owner.here())
    assert Lock(path).acquire()


def test_a_lock_is_as_old_as_the_file_system_says(path, monkeypatch):
    leave(path, ELSEWHERE)
    monkeypatch.setattr(time, "time", lambda: 1e10)
    assert not Lock(path).acquire()


def test_a_lock_killed_in_the_making_is_in_nobodys_way(path, python):
    code = (
        "import os; os.link = lambda *_: os.kill(os.getpid(), 9)\n"  # between creating and naming
        "Lock(Path(sys.argv[1])).acquire()"
    )
    python(code, path).wait()
    assert not path.exists()
    assert Lock(path).acquire()
    locks.sweep(path.parent)
    assert path.exists()


def test_a_lock_without_a_name_in_it_is_in_the_way_for_a_while_only(path):
    leave(path, "", 0)
    assert not Lock(path).acquire()
    leave(path, "", locks.STALE + 20)
    assert Lock(path).acquire()


def test_a_file_system_without_links_has_locks_too(path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    lock = Lock(path)
    assert lock.acquire() and not Lock(path).acquire()
    assert lock.holder() == str(Owner.here())
    assert os.listdir(path.parent) == [path.name]
    lock.release()
    assert Lock(path).acquire()


def test_a_takeover_that_was_killed_is_in_the_way_once_only(path, dead):
    leave(path, dead)
    leave(path.with_name("a.lock.takeover"), dead)
    assert [Lock(path).acquire() for _ in range(3)] == [False, True, False]
    assert os.listdir(path.parent) == ["a.lock"]


@pytest.mark.parametrize("owner", [LIVING, ELSEWHERE, ""], ids=str)
def test_a_takeover_under_way_is_left_to_who_does_it(path, dead, owner):
    leave(path, dead)
    leave(path.with_name("a.lock.takeover"), owner)
    assert not Lock(path).acquire() and not Lock(path).acquire()
    assert path.read_text() == str(dead)
    leave(path.with_name("a.lock.takeover"), owner, locks.STALE + 20)
    assert [Lock(path).acquire() for _ in range(2)] == [False, True]


def test_a_lock_that_was_taken_over_meanwhile_is_not_taken_again(path, dead, monkeypatch):
    """Between seeing that a lock is stale and being the one to replace it, another process replaced it."""
    leave(path, dead)
    create = Lock._create

    def late(place: Path) -> bool:
        if place.name.endswith(".takeover"):
            leave(path, LIVING)
        return create(place)

    monkeypatch.setattr(Lock, "_create", staticmethod(late))
    assert not Lock(path).acquire()
    assert path.read_text() == str(LIVING)
    assert os.listdir(path.parent) == ["a.lock"]


def test_a_lock_that_goes_while_it_is_looked_at_is_no_error(path, dead, monkeypatch):
    leave(path, ELSEWHERE)
    monkeypatch.setattr(Lock, "_now", lambda lock: path.unlink() or time.time())
    assert Lock(path).acquire() is False
    monkeypatch.undo()
    assert Lock(path).acquire()


RACE = """
for text in sys.stdin:
    place, moment = text.split()
    lock = Lock(Path(place))
    while time.time() < float(moment):
        pass
    taken = 0
    for _ in range(5):
        taken += lock.acquire()
        time.sleep(0.001)
    print(taken, flush=True)
"""


@pytest.mark.parametrize("left", ["dead", "old", "dead, and a killed takeover", "nothing"])
def test_exactly_one_of_many_processes_gets_a_lock(path, python, dead, left):
    processes = [python(RACE) for _ in range(6)]
    for number in range(12):
        place = path.with_name(f"{number}.lock")
        if left != "nothing":
            leave(place, ELSEWHERE if left == "old" else dead, locks.STALE + 20 if left == "old" else 0)
        if "takeover" in left:
            leave(place.with_name(f"{place.name}.takeover"), dead)
        for process in processes:
            print(place, time.time() + (0.3 if number == 0 else 0.01), file=process.stdin, flush=True)
        assert sorted(line(process) for process in processes) == ["0"] * 5 + ["1"]
    assert all("takeover" not in name for name in os.listdir(path.parent))


def test_no_two_processes_are_inside_at_a_time(path, python, tmp_path):
    """Each adds one to a number in a file, many times: none gets lost, though the folder comes and goes."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    code = (
        "locks.POLL = 0.0005; counter = Path(sys.argv[2]); lock = Lock(Path(sys.argv[1]))\n"
        "for _ in range(60):\n"
        "    while not lock.acquire(): time.sleep(0.0005)\n"
        "    n = int(counter.read_text()); time.sleep(0.0005); counter.write_text(str(n + 1)); lock.release()\n"
    )
    processes = [python(code, path, counter) for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=30)[1] == ""
    assert counter.read_text() == "240"
    assert not path.parent.exists()


def test_locks_of_one_folder_come_and_go_without_disturbing_each_other(path, python):
    code = (
        "for _ in range(1500):\n"
        "    lock = Lock(Path(sys.argv[1]))\n"
        "    assert lock._create(lock._path)\n"
        "    lock.release()\n"
    )
    processes = [python(code, path.with_name(f"{number}.lock")) for number in range(4)]
    for process in processes:
        assert process.communicate(timeout=30)[1] == ""


# Trouble with the disk.


def test_a_full_disk_leaves_no_lock(path):
    path.parent.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OSError):
            Lock(path).acquire()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(path.parent) == []
    assert Lock(path).acquire()


def test_a_folder_that_can_not_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        Lock(tmp_path / "file" / "a.lock").acquire()
    assert Lock(tmp_path / "file" / "a.lock").holder() == ""


def test_a_folder_that_goes_again_and_again_is_not_waited_for_forever(path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert Lock(path).acquire() is False


def test_a_folder_that_goes_as_it_is_made_is_made_again(path, monkeypatch):
    """Another process gives back the folder's last lock after this one found that the folder is there."""
    path.parent.mkdir()
    mkdir = os.mkdir
    left = [path.parent]

    def late(place, *mode) -> None:
        try:
            mkdir(place, *mode)
        except FileExistsError:
            if left:
                left.pop().rmdir()
            raise

    monkeypatch.setattr(os, "mkdir", late)
    assert Lock(path).acquire()


# Giving back, and the heartbeat.


@pytest.mark.parametrize("owner", [LIVING, ELSEWHERE, ""], ids=str)
def test_a_release_does_not_remove_somebody_elses_lock(path, owner):
    lock = Lock(path)
    lock.acquire()
    leave(path, owner)
    lock.release()
    assert path.read_text() == str(owner)


def test_a_release_of_a_lock_that_is_gone_is_no_error(path):
    lock = Lock(path)
    lock.acquire()
    path.unlink()
    path.parent.rmdir()
    lock.release()
    assert lock.acquire()


def test_a_lock_is_touched_as_long_as_it_is_held(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    lock = Lock(path)
    lock.acquire()
    for _ in range(3):
        os.utime(path, (0, 0))
        assert eventually(lambda: path.stat().st_mtime > time.time() - 20)
    lock.release()
    leave(path, ELSEWHERE, 1000)
    time.sleep(0.1)
    assert path.stat().st_mtime < time.time() - 900


def test_a_lock_that_is_touched_is_not_stale(path, monkeypatch, python):
    monkeypatch.setattr(locks, "STALE", 0.5)
    other = python("locks.BEAT = 0.02\n" + HOLD, path)
    assert line(other) == "True"
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert not Lock(path).acquire()
        time.sleep(0.05)


def test_the_heartbeat_outlives_a_lock_that_is_gone_for_a_moment(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    lock = Lock(path)
    lock.acquire()
    text = path.read_text()
    path.unlink()
    time.sleep(0.05)
    leave(path, text, 1000)
    assert eventually(lambda: path.stat().st_mtime > time.time() - 20)
    lock.release()


def test_a_lock_taken_again_is_touched_again(path, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.01)
    lock = Lock(path)
    for _ in range(3):
        assert lock.acquire()
        os.utime(path, (0, 0))
        assert eventually(lambda: path.stat().st_mtime > time.time() - 20)
        lock.release()


def test_the_heartbeat_does_not_keep_the_program_from_ending(path, python):
    other = python("assert Lock(Path(sys.argv[1])).acquire()", path)
    assert other.wait(timeout=5) == 0
    assert Lock(path).acquire()


def test_many_beats_come_before_a_lock_is_stale():
    assert 3 * locks.BEAT < locks.STALE
    assert locks.POLL < locks.BEAT


# Waiting.


def test_waiting_goes_on_when_the_lock_is_given_back(path, python, tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL", 0.02)
    other = python(HOLD + "time.sleep(0.3); Path(sys.argv[2]).touch(); lock.release()", path, tmp_path / "done")
    assert line(other) == "True"
    print(file=other.stdin, flush=True)
    with waiting(path):
        assert (tmp_path / "done").exists()
        assert Lock(path).holder() == str(Owner.here())
        assert not Lock(path).acquire()
    assert not path.parent.exists()


def test_waiting_does_not_wait_for_an_ended_process(path, dead):
    leave(path, dead)
    with waiting(path):
        assert path.read_text() == str(Owner.here())
    assert not path.exists()


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
def test_a_lock_is_given_back_when_the_work_fails(path, error):
    with pytest.raises(error), waiting(path):
        raise error
    assert not path.exists()
    assert Lock(path).acquire()


def test_waiting_goes_on_without_where_no_lock_can_be_made(tmp_path):
    (tmp_path / "file").write_text("content")
    done = []
    with waiting(tmp_path / "file" / "a.lock"):
        done.append(1)
    assert done == [1]
    assert (tmp_path / "file").read_text() == "content"


def test_waiting_does_not_go_on_without_while_another_process_has_it(path, monkeypatch):
    leave(path, LIVING)

    class Asleep(Exception):
        pass

    def sleep(seconds: float) -> None:
        assert seconds == locks.POLL
        raise Asleep

    monkeypatch.setattr(time, "sleep", sleep)
    with pytest.raises(Asleep), waiting(path):
        raise AssertionError("nobody gave it back")
    assert path.read_text() == str(LIVING)
