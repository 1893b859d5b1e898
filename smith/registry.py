"""A table of names that anybody may add to: networks, datasets, solvers, schedules and metrics have one each."""

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from smith.errors import UserError, unknown

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Maps names to what is registered under them. An unknown name raises UserError with the nearest known one."""

    def __init__(self, kind: str) -> None:
        """kind: what the names are of, for messages: "network"."""
        self.kind = kind
        self._entries: dict[str, T] = {}
        self._origins: dict[str, str] = {}

    def add(self, name: str, value: T, origin: Any) -> None:
        """Registers a value.

        Args:
          origin: the class or function that the value was made from. The same one may register again, as it does when
            its file is loaded twice.

        Raises:
          UserError: the name belongs to something else.
        """
        where = f"{origin.__module__}.{origin.__name__}"  # dataclass(slots=True) makes a class twice under this name
        if self._origins.setdefault(name, where) != where:
            raise UserError(f"{self.kind} {name!r} is {self._origins[name]} already: give {where} another name")
        self._entries[name] = value

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
