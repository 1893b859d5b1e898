"""The folder of a report: files written whole, and only files that a report wrote before are ever replaced or removed.

`report-files.txt` lists them. It is written first, so that a report that was cut off can be written again.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from smith import disk
from smith.errors import UserError

LIST = "report-files.txt"


def publish(folder: Path, content: Mapping[str, bytes]) -> int:
    """Makes a folder hold these files, by their relative paths. Returns how many were new or changed.

    Files that are the same are left alone. Files of an earlier report that are not in this one are removed.

    Raises:
      UserError: a file of that name is there and was not written by a report.
      OSError: nothing can be written there.
    """
    disk.make_folder(folder, option="--report-dir")
    before = _listed(folder)
    for name in content:
        if (folder / name).exists() and name not in before:
            raise UserError(f"{folder / name} is there and is not of a report; choose another --report-dir")
    _write(folder, LIST, _list({*before, *content}))
    changed = sum([_write(folder, name, data) for name, data in content.items()])
    for name in before - set(content):
        disk.remove(folder / name)
        disk.remove_empty((folder / name).parent)
    _write(folder, LIST, _list(content))
    return changed


def _listed(folder: Path) -> set[str]:
    """Returns the files that an earlier report wrote; of the list only what can be a report's file."""
    try:
        lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise UserError(f"{folder / LIST} is not a report's list of files; choose another --report-dir") from error
    return {line for line in lines if re.fullmatch(r"(figures/([\w-]+/)?)?[\w-][\w.=-]*\.\w+", line)}


def _list(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def _write(folder: Path, name: str, data: bytes) -> bool:
    path = folder / name
    if path.is_file() and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    with disk.whole(path) as part:
        part.write_bytes(data)
    return True
