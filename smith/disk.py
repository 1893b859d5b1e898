"""Files that are written whole or not at all, and locks, for processes that may be killed and disks that are shared."""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

ABANDONED = 3600.0  # seconds after which nobody finishes a part any more
POLL = 0.5  # seconds between two attempts at a lock


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Gives a path beside `target` to write a file or folder to, which then takes the target's place.

    It is on the disk before it gets its name. If anything fails it is removed, and the target is as before.
    """
    part = _part(target)
    try:
        yield part
        for path in (*part.rglob("*"), part):
            _synchronise(path)
        if part.is_dir():
            remove(target)
        os.replace(part, target)
        _synchronise(target.parent)
    finally:
        _delete(part)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there. A folder is never seen half removed under its own name."""
    if path.is_dir() and not path.is_symlink():
        gone = _part(path)
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
        _delete(gone)
    else:
        path.unlink(missing_ok=True)


def remove_empty(folder: Path) -> None:
    """Removes a folder if there is nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def make_folder(folder: Path, option: str = "") -> None:
    """Makes a folder, and removes old parts in it. Raises OSError, which names the option, if it can not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with whole(folder / ".probe") as probe:
            probe.touch()
        (folder / ".probe").unlink(missing_ok=True)
    except OSError as error:
        advice = f"; choose {option}" if option else ""
        raise OSError(error.errno, f"nothing can be written there ({error.strerror}){advice}", str(folder)) from error


def sweep(folder: Path) -> None:
    """Removes the parts that killed processes left in a folder: those that nobody touched for an hour."""
    for part in matching(folder, ".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.lstat().st_mtime > ABANDONED:
                _delete(part)


def matching(folder: Path, pattern: str) -> list[Path]:
    """Returns the paths in a folder that match, in order; none if the folder is not there, or is removed just then."""
    try:
        return sorted(folder.glob(pattern))
    except FileNotFoundError:
        return []


class Lock:
    """A piece of work that one process at a time does.

    The kernel drops the lock when the process ends, however that ends. A file that is left behind means nothing.
    """

    def __init__(self, path: Path) -> None:
        """path: the lock's file, which is there while the lock is held."""
        from filelock import FileLock  # slow to import, and only training needs it

        self._path = path
        self._lock = FileLock(path, thread_local=False, fallback_to_soft=False)

    def acquire(self) -> bool:
        """Takes the lock if nobody has it. Says whether it was taken; never waits.

        Raises OSError if its folder can not be made or written, or its file system has no locks.
        """
        from filelock import Timeout

        try:
            self._lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError, FileExistsError):
            if self._path.parent.is_file():
                raise
            return False  # or the folder went just then with somebody else's last lock
        return True

    def release(self) -> None:
        """Gives the lock back. Its file goes first: who opened it before has a file without a name, not the lock."""
        self._path.unlink(missing_ok=True)
        self._lock.release()
        remove_empty(self._path.parent)


@contextlib.contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Holds a lock, after waiting for it. Where none can be made, goes on without."""
    with contextlib.ExitStack() as stack:
        lock = Lock(path)
        with contextlib.suppress(OSError):
            while not lock.acquire():
                time.sleep(POLL)
            stack.callback(lock.release)
        yield


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}~{secrets.token_hex(3)}.part")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
