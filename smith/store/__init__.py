"""Results: the format of one file (`results`), and all files of a scale behind one object (`Store`)."""

from smith.store.results import COLUMNS, DamagedResult, Result, facts, path_of, read, write
from smith.store.store import Store

__all__ = ["COLUMNS", "DamagedResult", "Result", "Store", "facts", "path_of", "read", "write"]
