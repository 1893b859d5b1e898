"""A table of names that anybody may add to: networks, datasets, solvers, schedules and metrics have one each."""

from collections.abc import Callable
from typing import Any, TypeVar

from smith.errors import UserError, unknown

T = TypeVar("T")
Origin = TypeVar("Origin", bound=Callable[..., Any])


class Registry(dict[str, T]):
    """Maps names to what is registered under them. An unknown name raises UserError with the nearest known one."""

    def __init__(self, kind: str) -> None:
        """kind: what the names are of, for messages: "network"."""
        super().__init__()
        self.kind, self.origins = kind, dict[str, str]()

    def __missing__(self, name: str) -> T:
        raise unknown(self.kind, name, self)

    def add(self, name: str, value: T, origin: Origin) -> Origin:
        """Registers a value. Returns `origin`, the class or function that the value was made from.

        The same one may register again, as it does when its file is loaded twice.

        Raises:
          UserError: the name belongs to something else.
        """
        where = f"{origin.__module__}.{origin.__name__}"  # dataclass(slots=True) makes a class twice under this name
        if self.origins.setdefault(name, where) != where:
            raise UserError(f"{self.kind} {name!r} is {self.origins[name]} already: give {where} another name")
        self[name] = value
        return origin
