"""Files: whole or not at all. Locks: one process at a time, and never left behind."""

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from smith import disk
from smith.disk import holding, whole
from smith.train.stopping import Stopped


def tree(folder: Path) -> dict[str, bytes]:
    """Returns every file's content by its path; a folder has b"/"."""
    return {p.relative_to(folder).as_posix(): b"/" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


def fill(path: Path, kind: str, text: str) -> None:
    """Makes what stands for a target or a part: nothing, a file or a folder."""
    if kind == "file":
        path.write_text(text)
    elif kind == "folder":
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "deep").write_text(text)
        (path / text).write_text(text)


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- whole or not at all ---


@pytest.mark.parametrize(
    ("before", "after"),
    [("nothing", "file"), ("nothing", "folder"), ("file", "file"), ("file", "folder"), ("folder", "folder")],
)
def test_what_is_written_takes_the_targets_place_in_the_end(tmp_path, before, after):
    target, expected = tmp_path / "target", tmp_path / "expected"
    fill(target, before, "old")
    with whole(target) as part:
        old = tree(tmp_path)
        fill(part, after, "new")
        assert part.parent == tmp_path and part != target
        assert {name: old[name] for name in tree(tmp_path) if not name.startswith(part.name)} == old
    assert os.listdir(tmp_path) == ["target"]
    fill(expected, after, "new")
    assert target.read_text() == "new" if after == "file" else tree(target) == tree(expected)


@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
@pytest.mark.parametrize("failure", [OSError, KeyboardInterrupt, Stopped, "fsync", "replace"])
def test_a_target_is_as_before_if_the_writing_fails(tmp_path, monkeypatch, failure, kind):
    """failure: what is raised while it is written, or what fails afterwards because the disk is full."""
    fill(tmp_path / "target", kind, "old")
    old = tree(tmp_path)
    if late := isinstance(failure, str):
        monkeypatch.setattr(os, failure, full)
    with pytest.raises(OSError if late else failure), whole(tmp_path / "target") as part:
        fill(part, "file" if late or kind != "folder" else "folder", "new")
        if not late:
            raise failure
    assert tree(tmp_path) == old


def test_a_body_that_writes_nothing_is_an_error(tmp_path):
    (tmp_path / "target").write_text("old")
    with pytest.raises(FileNotFoundError), whole(tmp_path / "target"):
        pass
    assert tree(tmp_path) == {"target": b"old"}


def test_all_of_it_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.fstat(fd).st_ino), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda one, other: (done.append("named"), replace(one, other)))
    with whole(tmp_path / "target") as part:
        fill(part, "folder", "new")
        inside = {path.stat().st_ino for path in (part, *part.rglob("*"))}
    named = done.index("named")
    assert len(inside) == 4 and inside == set(done[:named])
    assert tmp_path.stat().st_ino in done[named:]


# --- removing, and folders ---


@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_removing(tmp_path, kind):
    fill(tmp_path / "target", kind, "old")
    (tmp_path / "other").touch()
    disk.remove(tmp_path / "target")
    assert os.listdir(tmp_path) == ["other"]


def test_a_folder_is_not_under_its_name_while_it_is_removed(tmp_path, monkeypatch):
    fill(tmp_path / "target", "folder", "old")
    seen = []
    monkeypatch.setattr(disk.shutil, "rmtree", lambda path, **_: seen.append((path, (tmp_path / "target").exists())))
    disk.remove(tmp_path / "target")
    ((path, there),) = seen
    assert path.exists() and not there


def test_only_an_empty_folder_is_removed_as_empty_and_what_matches_in_one(tmp_path):
    fill(tmp_path / "full", "folder", "old")
    (tmp_path / "empty").mkdir()
    for name in ("full", "empty", "missing"):
        disk.remove_empty(tmp_path / name)
    assert disk.matching(tmp_path, "*") == [tmp_path / "full"]
    assert disk.matching(tmp_path / "full", "*") == [tmp_path / "full" / "inner", tmp_path / "full" / "old"]
    assert disk.matching(tmp_path / "missing", "*") == []


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_parts_are_swept_after_an_hour_and_nothing_else_is(tmp_path, kind):
    for name in (".old~1.part", ".new~1.part", "kept.part", ".kept"):
        fill(tmp_path / name, kind, "text")
        then = time.time() - (3500 if name == ".new~1.part" else 3700)
        os.utime(tmp_path / name, (then, then))
    disk.make_folder(tmp_path)
    assert set(os.listdir(tmp_path)) == {".new~1.part", "kept.part", ".kept"}


def test_a_folder_that_can_not_be_written_is_told_with_its_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"nothing can be written there \(Not a directory\); choose --results-dir"):
        disk.make_folder(tmp_path / "file" / "results", "--results-dir")
    disk.make_folder(tmp_path / "new" / "results", "--results-dir")
    assert os.listdir(tmp_path / "new" / "results") == []


# --- locks ---


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "locks" / "work.lock"


HOLDING = """
import sys
from pathlib import Path
from smith.disk import holding
with holding(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def elsewhere(path):
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLDING, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_a_lock_is_had_once_leaves_nothing_behind_and_stops_no_other_work(path):
    for _ in range(2):
        with holding(path) as first, holding(path) as second, holding(path.with_name("other.lock")) as other:
            assert (first, second, other) == (True, False, True)
            assert sorted(os.listdir(path.parent)) == ["other.lock", "work.lock"]
        assert not path.parent.exists()


def test_a_killed_process_loses_its_lock_at_once(path, elsewhere):
    with holding(path) as held:
        assert not held
    elsewhere.kill()
    elsewhere.wait()
    assert path.exists()
    with holding(path) as held:
        assert held
    assert not path.parent.exists()


def test_who_opened_the_file_before_it_was_removed_does_not_get_the_lock(path, monkeypatch):
    """Else two could hold it: one by the removed file, one by a new file of the same name."""
    first, flock = contextlib.ExitStack(), fcntl.flock
    assert first.enter_context(holding(path))

    def slow(descriptor: int, how: int) -> None:
        monkeypatch.setattr("fcntl.flock", flock)
        first.close()
        flock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", slow)
    for expected in (False, True):
        with holding(path) as held:
            assert held == expected


def test_no_two_threads_are_inside_at_a_time(path):
    """The folder and the file come and go with every lock."""
    inside, most, times = [], [], []

    def work() -> None:
        for _ in range(60):
            with holding(path) as held:
                if held:
                    inside.append(1)
                    most.append(len(inside))
                    inside.pop()
                    times.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1} and len(times) >= 60


def test_waiting_goes_on_when_the_process_that_has_the_lock_ends(path, elsewhere, monkeypatch):
    monkeypatch.setattr(disk, "POLL", 0.01)
    threading.Timer(0.2, elsewhere.kill).start()
    with disk.waiting(path):
        assert elsewhere.wait() < 0
        with holding(path) as held:
            assert not held
    assert not path.parent.exists()


def test_waiting_goes_on_without_where_no_lock_can_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError), holding(tmp_path / "file" / "work.lock"):
        pass
    with disk.waiting(tmp_path / "file" / "work.lock"):
        pass
