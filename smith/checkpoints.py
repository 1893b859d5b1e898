"""Training state on disk: Orbax, in one small wrapper."""

import shutil
from pathlib import Path
from typing import Any

import jax

from smith.errors import UserError

Tree = Any  # a pytree of arrays


def _flat(state: Tree) -> dict[str, jax.Array]:
    """Returns the arrays by their path, which is how they are named on disk."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def save(folder: Path, state: Tree) -> None:
    """Writes a state, whole or not at all: Orbax renames the folder when everything is in it."""
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(folder.resolve(), _flat(state), force=True)


def exists(folder: Path) -> bool:
    """Says whether there is a complete state."""
    return folder.is_dir()


def load(folder: Path, like: Tree) -> Tree:
    """Reads a state.

    Args:
      like: a state of the same structure, shapes and types, whose values are not used.

    Raises:
      UserError: the folder holds no state, or one of another structure.
    """
    import orbax.checkpoint as ocp

    try:
        with ocp.StandardCheckpointer() as checkpointer:
            flat = checkpointer.restore(folder.resolve(), _flat(like))
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise UserError(f"{folder}: not a usable checkpoint ({first_line}); remove it and run again") from error
    return jax.tree.unflatten(jax.tree.structure(like), list(flat[name] for name in _flat(like)))


def remove(folder: Path) -> None:
    """Removes a state, if there is one."""
    shutil.rmtree(folder, ignore_errors=True)
