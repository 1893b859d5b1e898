"""Files: whole or not at all, parts that nobody will finish, and what is a plain file."""

import contextlib
import errno
import os
import resource
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smith import disk
from smith.cli import experiments
from smith.disk import Owner, whole
from smith.scales import SCALES
from smith.store import results
from smith.train import checkpoints
from smith.train.stopping import Stopped


@pytest.fixture(scope="module")
def dead() -> Owner:
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    return Owner(Owner.here().host, process.pid)


def living() -> Owner:
    return Owner(Owner.here().host, os.getppid())


def tree(folder: Path) -> dict[str, bytes]:
    """Returns every file's content by its path; a folder has b"/"."""
    return {p.relative_to(folder).as_posix(): b"/" if p.is_dir() else p.read_bytes() for p in folder.rglob("*")}


def fill(path: Path, kind: str, text: str) -> None:
    """Makes what stands for a target or a part: nothing, a file, a folder or an empty folder."""
    if kind == "file":
        path.write_text(text)
    elif kind != "nothing":
        path.mkdir()
        if kind == "folder":
            (path / "inner").mkdir()
            (path / "inner" / "deep").write_text(text)
            (path / text).write_text(text)


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then), follow_symlinks=False)


# Whole or not at all.


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("nothing", "file"),
        ("nothing", "folder"),
        ("nothing", "empty folder"),
        ("file", "file"),
        ("file", "folder"),
        ("folder", "folder"),
        ("empty folder", "folder"),
        ("folder", "empty folder"),
    ],
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
    if after == "file":
        assert target.read_text() == "new"
    else:
        assert tree(target) == tree(expected)


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, Stopped], ids=lambda error: error.__name__)
@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
@pytest.mark.parametrize("written", ["nothing", "file", "folder"])
def test_a_target_is_as_before_if_the_writing_fails(tmp_path, error, before, written):
    fill(tmp_path / "target", before, "old")
    old = tree(tmp_path)
    with pytest.raises(error), whole(tmp_path / "target") as part:
        fill(part, written, "new")
        raise error(15)
    assert tree(tmp_path) == old


@pytest.mark.parametrize("name", ["fsync", "replace"])
@pytest.mark.parametrize("kind", ["nothing", "file"])
def test_a_full_disk_is_told_and_leaves_the_target_as_before(tmp_path, monkeypatch, name, kind):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(tmp_path / "target", kind, "old")
    old = tree(tmp_path)
    monkeypatch.setattr(os, name, full)
    with pytest.raises(OSError, match="No space left"), whole(tmp_path / "target") as part:
        part.write_text("new")
    assert tree(tmp_path) == old


def test_a_folder_that_can_not_be_synchronised_leaves_the_old_one(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    fill(tmp_path / "target", "folder", "old")
    old = tree(tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"), whole(tmp_path / "target") as part:
        fill(part, "folder", "new")
    assert tree(tmp_path) == old


def test_a_file_that_grows_too_large_leaves_the_target_as_before(tmp_path):
    (tmp_path / "target").write_text("old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError), whole(tmp_path / "target") as part:
            part.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert tree(tmp_path) == {"target": b"old"}


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


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("before", ["nothing", "file", "folder"])
def test_a_part_left_by_an_earlier_process_of_the_same_number_is_no_obstacle(tmp_path, kind, before):
    if (before, kind) == ("folder", "file"):
        pytest.skip("a file does not take a folder's place")
    target = tmp_path / "target"
    with whole(target) as left:
        fill(left, kind, "left")
    shutil.rmtree(target, ignore_errors=True) if kind == "folder" else target.unlink()
    fill(left, kind, "left")
    fill(target, before, "old")
    with whole(target) as part:
        assert part != left
        fill(part, kind, "new")
    disk.sweep(tmp_path)
    assert os.listdir(tmp_path) == ["target"]
    assert not any(b"left" in content or "left" in name for name, content in tree(tmp_path).items())


def test_processes_and_targets_have_parts_of_their_own(tmp_path, monkeypatch):
    parts = set()
    for target in ("one", "two"):
        for pid in (11, 12):
            monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
            with whole(tmp_path / target) as part:
                part.touch()
            parts.add(part.name)
    assert len(parts) == 4
    assert all(name.startswith(".") and name.endswith(".part") for name in parts)


# Removing.


@pytest.mark.parametrize("kind", ["nothing", "file", "folder", "empty folder"])
def test_removing(tmp_path, kind):
    fill(tmp_path / "target", kind, "old")
    (tmp_path / "other").touch()
    disk.remove(tmp_path / "target")
    assert os.listdir(tmp_path) == ["other"]


@pytest.mark.parametrize("kind", ["nothing", "file", "folder"])
def test_removing_a_link_leaves_what_it_leads_to(tmp_path, kind):
    fill(tmp_path / "there", kind, "old")
    old = tree(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "there")
    disk.remove(tmp_path / "link")
    assert tree(tmp_path) == old


def test_a_folder_is_not_under_its_name_while_it_is_removed(tmp_path, monkeypatch):
    fill(tmp_path / "target", "folder", "old")
    rmtree = shutil.rmtree
    exists = []
    monkeypatch.setattr(
        shutil, "rmtree", lambda p, **o: (exists.append((tmp_path / "target").exists()), rmtree(p, **o))
    )
    disk.remove(tmp_path / "target")
    assert exists == [False]
    assert os.listdir(tmp_path) == []


def test_a_folder_that_goes_while_it_is_removed_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "target").mkdir()
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda path, to: (os.rmdir(path), rename(path, to)))
    disk.remove(tmp_path / "target")
    assert os.listdir(tmp_path) == []


def test_a_part_in_the_way_does_not_keep_a_folder_from_being_removed(tmp_path):
    target = tmp_path / "target"
    with whole(target) as left:
        left.mkdir()
    fill(left, "folder", "left")
    disk.remove(target)
    assert not target.exists()


def test_only_an_empty_folder_is_removed_as_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "full", "folder", "old")
    (tmp_path / "file").touch()
    for name in ("empty", "full", "file", "missing"):
        disk.remove_empty(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "full"]


# Parts that nobody will finish.

YOUNG, OLD = disk.ABANDONED - 60, disk.ABANDONED + 60


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize(
    ("owner", "seconds", "gone"),
    [
        ("dead", 0, True),
        ("own", YOUNG, True),
        ("living", YOUNG, False),
        ("living", OLD, True),
        ("elsewhere", YOUNG, False),
        ("elsewhere", OLD, True),
        ("nobody", YOUNG, False),
        ("nobody", OLD, True),
    ],
)
def test_parts_of_ended_processes_and_very_old_ones_are_swept(tmp_path, dead, kind, owner, seconds, gone):
    owners = {"dead": dead, "own": Owner.here(), "living": living(), "elsewhere": Owner("elsewhere.1", dead.pid)}
    part = tmp_path / f".a~b.parquet~{owners.get(owner, 'nobody')}~1.part"
    fill(part, kind, "half")
    age(part, seconds)
    assert disk.abandoned(part) == gone
    disk.sweep(tmp_path)
    assert part.exists() != gone


def test_nothing_but_parts_is_swept(tmp_path, dead):
    for name in (f"a~{dead}~1.part", f".a~{dead}~1", "result.parquet", ".hidden", "folder.part"):
        (tmp_path / name).touch()
        age(tmp_path / name, 10 * OLD)
    deeper = tmp_path / "folder"
    deeper.mkdir()
    (deeper / f".a~{dead}~1.part").touch()
    before = tree(tmp_path)
    disk.sweep(tmp_path)
    assert tree(tmp_path) == before


def test_a_link_that_is_swept_leaves_what_it_leads_to(tmp_path, dead):
    fill(tmp_path / "folder", "folder", "kept")
    before = tree(tmp_path)
    (tmp_path / f".a~{dead}~1.part").symlink_to(tmp_path / "folder")
    (tmp_path / f".b~{dead}~1.part").symlink_to("gone")
    disk.sweep(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["folder"] and tree(tmp_path) == before


def test_a_folder_that_is_not_there_is_swept_without_a_word(tmp_path):
    disk.sweep(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()


def test_a_part_that_somebody_finished_meanwhile_is_not_abandoned(tmp_path, dead):
    assert not disk.abandoned(tmp_path / f".a~{dead}~1.part")


def test_a_killed_process_leaves_a_part_that_is_swept(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from smith.disk import whole\n"
        "with whole(Path(sys.argv[1])) as part:\n"
        "    part.mkdir(); (part / 'a').touch(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(disk.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "target"], cwd=root).returncode == -9
    assert len(os.listdir(tmp_path)) == 1 and not (tmp_path / "target").exists()
    disk.sweep(tmp_path)
    assert os.listdir(tmp_path) == []


# Owners.


@given(st.from_regex(r"[A-Za-z0-9.]+", fullmatch=True), st.integers(0, 999_999_999))
def test_an_owner_is_read_back(host, pid):
    assert Owner.parse(str(Owner(host, pid))) == Owner(host, pid)


@given(st.text(max_size=80))
def test_this_process_is_read_back_whatever_its_machine_is_called(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: name)
        assert Owner.parse(str(Owner.here())) == Owner.here()
        assert Owner.here().pid == os.getpid()


@pytest.mark.parametrize(
    "text", ["", "host", "host-", "-1", "a b-1", "host-1\n", "host-1x", "host--1", "host-1234567890", "a/b-1", "1"]
)
def test_what_is_no_owner_is_not_read_as_one(text):
    assert Owner.parse(text) is None


def test_a_process_is_dead_when_it_is_known_to_be(dead, monkeypatch):
    assert dead.dead()
    assert not Owner.here().dead()
    assert not living().dead()
    assert not Owner("elsewhere", dead.pid).dead()

    def another_users(*_):
        raise PermissionError

    monkeypatch.setattr(os, "kill", another_users)
    assert not dead.dead()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("node1", "node2"),
        ("node-11", "node1-1"),
        ("training-of-a-paper-with-a-long-name-worker-a", "training-of-a-paper-with-a-long-name-worker-b"),
    ],
)
def test_machines_of_similar_names_are_told_apart(monkeypatch, one, other):
    owners = set()
    for name in (one, other):
        monkeypatch.setattr(socket, "gethostname", lambda name=name: name)
        owners.add(Owner.here())
    assert len(owners) == 2


def test_containers_that_share_a_name_are_told_apart(monkeypatch):
    first = Owner.here()
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[123]")
    second = Owner.here()
    assert first != second and first.pid == second.pid


def test_a_system_without_process_namespaces_has_owners_too(monkeypatch):
    def missing(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr(os, "readlink", missing)
    assert Owner.parse(str(Owner.here())) == Owner.here()


# Folders that others remove while they are empty.


def test_a_folder_is_made_below_folders_that_others_remove_when_empty(tmp_path, remover):
    above = tmp_path / "a" / "b"
    remover(above, above.parent)
    for number in range(200):
        folder = above / f"{number}"
        disk.make(folder, above=2)
        (folder / "file").touch()
        shutil.rmtree(folder)


def test_only_so_many_folders_above_are_made(tmp_path):
    with pytest.raises(FileNotFoundError):
        disk.make(tmp_path / "a" / "b" / "c", above=1)
    assert not list(tmp_path.iterdir())
    disk.make(tmp_path / "a" / "b" / "c", above=2)
    assert (tmp_path / "a" / "b" / "c").is_dir()


def test_a_folder_that_is_there_is_not_made_again(tmp_path):
    with pytest.raises(FileExistsError):
        disk.make(tmp_path, above=1)


def test_what_matches_in_a_folder_that_is_removed_just_then_is_nothing(tmp_path, remover):
    (tmp_path / "b").touch()
    (tmp_path / "a").touch()
    assert disk.matching(tmp_path, "[a-z]") == [tmp_path / "a", tmp_path / "b"]
    folder = tmp_path / "vanishing"
    remover(folder)
    for _ in range(300):
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        assert disk.matching(folder, "*") == []


# Plain files.


def test_a_plain_files_size(tmp_path):
    (tmp_path / "file").write_bytes(bytes(123))
    (tmp_path / "empty").touch()
    assert disk.regular(tmp_path / "file") == 123
    assert disk.regular(tmp_path / "empty") == 0


@pytest.mark.parametrize("kind", ["link", "broken link", "link to a folder", "pipe", "folder", "socket", "device"])
def test_what_is_not_a_plain_file_is_refused_unopened(tmp_path, kind, monkeypatch):
    path = tmp_path / "it"
    (tmp_path / "file").write_text("content")
    if "link" in kind:
        path.symlink_to({"link": tmp_path / "file", "broken link": "gone"}.get(kind, tmp_path))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        monkeypatch.chdir(tmp_path)  # a socket's path has to be short
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("it")
    else:
        path = Path(os.devnull)
    with pytest.raises(OSError, match="not a plain file"):
        disk.regular(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        disk.regular(tmp_path / "missing")


# Names.


def test_every_name_fits_a_file_system_on_a_machine_of_any_name(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "h" * 64)
    monkeypatch.setattr(os, "getpid", lambda: 4_194_304)
    monkeypatch.setattr(os, "readlink", lambda path: "pid:[4294967295]")
    longest = ""
    for scale in SCALES.values():
        for run in {scale.apply(run) for experiment in experiments(["all"]) for run in experiment.runs()}:
            paths = [results.path_of(tmp_path, run, 999), checkpoints.path_of(tmp_path, run, 999)]
            paths += [checkpoints.snapshot_of(tmp_path, run, 999)] if run.start else []
            names = [path.name for path in paths]
            names += [f"{names[0]}.damaged-abcdef", f"{names[1]}.lock.takeover"]
            longest = max([longest, *names], key=lambda name: len(name.encode()))
    with whole(tmp_path / longest) as part:
        assert len(part.name.encode()) <= 255
        part.touch()
    assert os.listdir(tmp_path) == [longest]
