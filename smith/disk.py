"""Files that are written whole or not at all, and locks, for processes that may be killed and disks that are shared."""

import contextlib
import fnmatch
import os
import secrets
import shutil
import tempfile
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
    if path.is_dir():
        gone = _part(path)
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
        path = gone
    _delete(path)


def remove_empty(folder: Path) -> None:
    """Removes a folder if there is nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def make_folder(folder: Path, option: str = "") -> None:
    """Makes a folder, and removes old parts in it. Raises OSError, which names the option, if it can not be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        advice = f"; choose {option}" if option else ""
        raise OSError(error.errno, f"nothing can be written there ({error.strerror}){advice}", str(folder)) from error


def sweep(folder: Path) -> None:
    """Removes the parts that killed processes left in a folder: those that nobody touched for an hour."""
    for part in matching(folder, ".*.part"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - part.stat().st_mtime > ABANDONED:
                _delete(part)


def matching(folder: Path, pattern: str) -> list[Path]:
    """Returns the paths in a folder whose names match, in order; none if the folder is not there.

    Raises OSError if the folder can not be read: it may hold something, which `Path.glob` would not say.
    """
    try:
        return sorted(folder / name for name in fnmatch.filter(os.listdir(folder), pattern))
    except (FileNotFoundError, NotADirectoryError):
        return []


def there(path: Path) -> bool:
    """Says whether a file or folder is there. Raises OSError if that can not be told, where `Path.exists` says no."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


@contextlib.contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Holds a lock, by its file, if nobody else does; never waits. Gives whether it is held.

    The kernel drops the lock when the process ends, however that ends. A file that is left behind means nothing.

    Raises:
      OSError: the lock's folder can not be made or written, or its file system has no locks.
    """
    from filelock import FileLock, Timeout  # slow to import, and only training needs it

    lock = FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except (Timeout, FileNotFoundError, FileExistsError):  # or the folder went just then with somebody's last lock
        if path.parent.is_file():
            raise
    try:
        yield lock.is_locked
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)  # first: who opened the file before has one without a name, not the lock
            lock.release()
            remove_empty(path.parent)


@contextlib.contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Holds a lock, after waiting for it. Where none can be made, goes on without."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            while not stack.enter_context(holding(path)):
                time.sleep(POLL)
        yield


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}~{secrets.token_hex(3)}.part")


def _delete(path: Path) -> None:
    if path.is_dir():
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
