"""Locks between processes, on one machine or on several that share a file system.

A lock is a file. It holds its owner, who touches it every `BEAT` seconds. It is stale, and may be taken over, when its
owner has ended (seen on the same machine) or has not touched it for `STALE` seconds.
"""

import contextlib
import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from smith import disk
from smith.disk import Owner

BEAT, STALE, POLL = 10.0, 60.0, 0.5  # seconds


class Lock:
    """A piece of work that one process at a time does. `acquire` it, and `release` it in the end."""

    _held: ClassVar[set[Path]] = set()  # by this process; an earlier one of the same number may have left others
    _mutex: ClassVar[threading.Lock] = threading.Lock()  # between the threads of this process

    def __init__(self, path: Path) -> None:
        self._path = path
        self._released = threading.Event()

    def acquire(self) -> bool:
        """Takes the lock if nobody has it, or if it is stale. Says whether it was taken; never waits.

        Raises OSError if the lock's folder can not be made or written.
        """
        with self._mutex:
            taken = self._create(self._path) or (self.stale() and self._take_over())
            if taken:
                self._held.add(self._path)
        if taken:
            self._released.clear()
            threading.Thread(target=self._beat, daemon=True).start()
        return taken

    def release(self) -> None:
        """Gives the lock back."""
        self._released.set()
        with self._mutex:
            self._held.discard(self._path)
            if self.holder() == str(Owner.here()):
                self._path.unlink(missing_ok=True)
        disk.remove_empty(self._path.parent)

    def holder(self) -> str:
        """Returns who has the lock, "" for nobody."""
        return _read(self._path)

    @staticmethod
    def _create(path: Path) -> bool:
        """Makes a file with the owner's name in it, unless there is one. It is never seen without the name."""
        for _ in range(disk.TRIES):  # the folder may go with somebody else's last lock
            try:
                path.parent.mkdir(exist_ok=True)
            except FileExistsError:
                if path.parent.exists() and not path.parent.is_dir():
                    raise
                continue
            try:
                with _beside(path) as part:
                    part.write_text(str(Owner.here()))
                    _name(part, path)
            except FileExistsError:
                return False
            except FileNotFoundError:
                continue
            return True
        return False

    def stale(self) -> bool:
        """Says whether the lock's owner has ended, or has not touched it for a long time."""
        owner = Owner.parse(self.holder())
        if owner and (owner.dead() or (owner == Owner.here() and self._path not in self._held)):
            return True
        try:
            return self._now() - self._path.lstat().st_mtime > STALE
        except FileNotFoundError:
            return False

    def _now(self) -> float:
        """Returns the file system's time: clocks of machines differ."""
        with _beside(self._path) as probe:
            probe.touch()
            return probe.lstat().st_mtime

    def _take_over(self) -> bool:
        """Replaces a stale lock. One process at a time does that, or a second could remove the first one's new lock."""
        guard = self._path.with_name(self._path.name + ".takeover")
        if not self._create(guard):
            if Lock(guard).stale():
                guard.unlink(missing_ok=True)
            return False
        try:
            if not self.stale():
                return False
            self._path.unlink(missing_ok=True)
            return self._create(self._path)
        finally:
            guard.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):
                if self.holder() == str(Owner.here()):
                    os.utime(self._path)


def _name(part: Path, path: Path) -> None:
    """Gives a file a further name, where there is none of it yet. Raises FileExistsError where there is."""
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS):
            raise
        with path.open("x") as file:  # a file system in which a file has one name
            file.write(part.read_text())


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Gives a name beside a path for a file that does not stay."""
    part = path.with_name(f".{path.name}~{Owner.here()}~{threading.get_ident():x}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes the stale locks in a folder, and the guards of those who were killed as they took one over."""
    for path in disk.matching(folder, "*.lock"):
        if (lock := Lock(path)).acquire():
            lock.release()
    for guard in disk.matching(folder, "*.takeover"):
        if Lock(guard).stale():
            guard.unlink(missing_ok=True)


@contextlib.contextmanager
def waiting(path: Path) -> Iterator[None]:
    """Holds a lock, after waiting for it. Where none can be made, goes on without."""
    lock = Lock(path)
    try:
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        while not (held := lock.acquire()):
            time.sleep(POLL)
    except OSError:
        held = False
    try:
        yield
    finally:
        if held:
            lock.release()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")[:200]
    except OSError:
        return ""
