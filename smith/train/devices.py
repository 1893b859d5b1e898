"""The device that JAX computes on: starting it, and what is said when it can not start or fails. One line each."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

from smith.errors import UserError

INSTEAD = "JAX_PLATFORMS=cpu trains on the CPU"


def start(warn: Callable[[str], None]) -> None:
    """Starts JAX, and passes on what it says of plugins and drivers without their tracebacks.

    Raises:
      UserError: there is no such device as JAX_PLATFORMS asks for.
    """
    import jax

    heard: list[str] = []

    def hear(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        heard.append(_line(error) or _line(record.getMessage()))
        return False

    log, asked = logging.getLogger("jax._src.xla_bridge"), os.environ.get("JAX_PLATFORMS", "")
    log.addFilter(hear)
    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:  # the second where a platform's plugin is not installed
        said = "; ".join([*heard, _line(error).split(" (set JAX_PLATFORMS")[0]]).strip("; ")
        said = said or "there is no such device, or JAX is installed without it"
        raise UserError(f"JAX does not start with JAX_PLATFORMS={asked}: {said}; {INSTEAD}") from error
    finally:
        log.removeFilter(hear)
    for line in heard if asked != "cpu" else ():
        warn(f"JAX says: {line}")


@contextlib.contextmanager
def failures() -> Iterator[None]:
    """Raises OSError for what goes wrong on a device: its memory is used up, or it is gone."""
    try:
        yield
    except RuntimeError as error:
        import jax

        if not isinstance(error, jax.errors.JaxRuntimeError):
            raise
        raise OSError(f"the device failed: {_line(error, 300)}; {INSTEAD}") from error


def _line(said: object, most: int = 1_000) -> str:
    return " ".join(str(said or "").split())[:most]
