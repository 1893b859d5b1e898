"""Files that are written whole or not at all, by programs that may be killed, on disks that may be shared."""

import contextlib
import hashlib
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TRIES = 100  # at what fails when somebody removes an empty folder at that moment
ABANDONED = 3600.0  # seconds after which a part that nobody finished is nobody's, wherever its owner is


@dataclass(frozen=True)
class Owner:
    """A process, told apart from all others that see the same file system: its machine's name and its number there."""

    host: str
    pid: int

    @classmethod
    def here(cls) -> "Owner":
        """Returns this process."""
        return cls(_host(), os.getpid())

    @classmethod
    def parse(cls, text: str) -> "Owner | None":
        """Reads what `str` made of an owner; None if that is not what `text` is."""
        match = re.fullmatch(r"([A-Za-z0-9.]+)-(\d{1,9})", text)
        return cls(match[1], int(match[2])) if match else None

    def __str__(self) -> str:
        return f"{self.host}-{self.pid}"

    def dead(self) -> bool:
        """Says whether the process is known to have ended: that can be seen only on its own machine."""
        if self.host != _host():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # another user's
        return _ended(self.pid)


def _ended(pid: int) -> bool:
    """Says whether a process that is still listed has ended, which shows on Linux: nobody has asked how it did."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _host() -> str:
    """Returns the machine's name, with a digest of it and of the process namespace: containers may share a name."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    name = socket.gethostname()
    digest = hashlib.sha256(f"{name} {namespace}".encode()).hexdigest()[:8]
    return f"{re.sub('[^A-Za-z0-9.]', '', name)[:30]}.{digest}"


_written: set[Path] = set()  # the parts that this process is writing


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Gives a path beside `target` to write a file or folder to, which takes its place when that is done.

    What was written is on the disk before it gets its name. If anything fails it is removed, and the target is as
    before.
    """
    part = _part(target)
    _written.add(part)
    try:
        yield part
        synchronise(part)
        if part.is_dir():
            remove(target)
        os.replace(part, target)
        _synchronise_one(target.parent)
    finally:
        _delete(part)
        _written.discard(part)


def synchronise(path: Path) -> None:
    """Waits until a file, or a folder with all in it, is on the disk."""
    for inner in path.rglob("*") if path.is_dir() else ():
        _synchronise_one(inner)
    _synchronise_one(path)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it is there. A folder is never seen half removed under its own name."""
    if path.is_dir() and not path.is_symlink():
        gone = _part(path)
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
        _delete(gone)
    else:
        path.unlink(missing_ok=True)


def make(folder: Path, above: int) -> None:
    """Makes a folder, which is not there yet, and up to `above` folders above it, which may be.

    Others may remove these while they are empty: it tries again. Raises OSError if it can not be made.
    """
    for tries_left in reversed(range(TRIES)):
        try:
            for each in reversed(folder.parents[:above]):
                each.mkdir(exist_ok=True)
            folder.mkdir()
        except (FileExistsError, FileNotFoundError):
            if not tries_left:
                raise
        else:
            return


def matching(folder: Path, pattern: str) -> list[Path]:
    """Returns the paths in a folder that match, in order; none if the folder is not there, or is removed just then."""
    try:
        return sorted(folder.glob(pattern))
    except FileNotFoundError:
        return []


def make_folder(folder: Path) -> None:
    """Makes a folder, and removes what killed processes left half-written in it."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)


def sweep(folder: Path) -> None:
    """Removes the parts in a folder that processes left when they were killed."""
    for part in matching(folder, ".*.part"):
        if abandoned(part):
            _delete(part)


def abandoned(part: Path) -> bool:
    """Says whether nobody will finish a part: its owner has ended, or it is very old."""
    owner = Owner.parse(part.name.rpartition("~")[0].rpartition("~")[2])
    try:
        age = time.time() - part.lstat().st_mtime
    except FileNotFoundError:
        return False
    if owner == Owner.here() and part not in _written:  # an earlier process had this one's number
        return True
    return age > ABANDONED or (owner is not None and owner.dead())


def regular(path: Path) -> int:
    """Returns a file's size in bytes. Raises OSError for what is not a plain file: a link, a pipe, a device."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is not a plain file")
    return status.st_size


def remove_empty(folder: Path) -> None:
    """Removes a folder if there is nothing in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def _part(target: Path) -> Path:
    return target.with_name(f".{target.name}~{Owner.here()}~{secrets.token_hex(3)}.part")


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _synchronise_one(path: Path) -> None:
    """Waits until a file or a folder's list of names is on the disk, where the system can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except (PermissionError, IsADirectoryError):  # a folder, where folders can not be opened
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
