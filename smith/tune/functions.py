"""A network of any kind as two pure functions, and those as the Flax module that the trainer takes."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx
from jax import Array

from smith.errors import UserError

Tree = Any  # a pytree of arrays
KINDS = (
    "give a class of Flax NNX (or functools.partial of one), a Linen module, or two functions "
    "init(key, inputs) -> params and apply(params, inputs) -> outputs"
)


@dataclass(frozen=True, eq=False)
class Functions:
    """A network without anything hidden.

    init: key -> (parameters, other state)
    apply: (parameters, other state, inputs, train, key or None) -> (outputs, other state)
    """

    init: Callable[[Array], tuple[Tree, Tree]]
    apply: Callable[[Tree, Tree, Array, bool, Array | None], tuple[Array, Tree]]


def functions(network: Any, inputs: Array) -> Functions:
    """Returns a network's functions.

    Args:
      network: a class of Flax NNX, or a function of `rngs` that makes one; a Linen module; or (init, apply).
      inputs: a few examples, to learn the shapes from.

    Raises:
      UserError: something else.
    """
    if isinstance(network, tuple) and len(network) == 2 and all(map(callable, network)):
        return _of_a_pair(*network, inputs)
    if inspect.isclass(network) and issubclass(network, linen.Module):
        network = network()
    if isinstance(network, linen.Module):
        return _of_linen(network, inputs)
    if isinstance(network, nnx.Module):
        kind = type(network).__name__
        raise UserError(f"the network is one {kind} with parameters already: give the class, so that each seed draws")
    if not callable(network):
        raise UserError(f"network {network!r} is none that is known here: {KINDS}")
    return _of_nnx(network)  # pyright: ignore[reportArgumentType]


def _flags(function: Callable[..., Any], train: bool, key: Array | None) -> dict[str, Any]:
    """Returns those of the usual keywords that a network's call takes."""
    known = {"train": train, "training": train, "is_training": train, "deterministic": not train, "key": key}
    return {name: known[name] for name in inspect.signature(function).parameters if name in known}


def _of_a_pair(init: Callable[..., Tree], apply: Callable[..., Array], inputs: Array) -> Functions:
    return Functions(
        lambda key: (init(key, inputs), {}),
        lambda params, rest, x, train, key: (apply(params, x, **_flags(apply, train, key)), rest),
    )


def _of_linen(module: linen.Module, inputs: Array) -> Functions:
    def init(key: Array) -> tuple[Tree, Tree]:
        keys: dict[str, Array] = dict(zip(("params", "dropout"), jax.random.split(key), strict=True))
        variables: dict[str, Any] = dict(module.init(keys, inputs, **_flags(module.__call__, False, None)))
        return variables.pop("params", {}), variables

    def apply(params: Tree, rest: Tree, x: Array, train: bool, key: Array | None) -> tuple[Array, Tree]:
        variables, flags = {"params": params, **rest}, _flags(module.__call__, train, key)
        keys = {"dropout": key} if key is not None else {}
        outputs, new = module.apply(variables, x, rngs=keys, mutable=list(rest) if train else [], **flags)
        return outputs, {**rest, **new}

    return Functions(init, apply)


def _of_nnx(make: Callable[..., nnx.Module]) -> Functions:
    def parts(key: Array) -> Any:
        module = make(rngs=nnx.Rngs(key))
        if not isinstance(module, nnx.Module):
            raise UserError(f"the network gives a {type(module).__name__}, not a Flax module: {KINDS}")
        return nnx.split(module, nnx.Param, nnx.RngState, ...)

    graphdef, _, random, _ = nnx.eval_shape(lambda: parts(jax.random.key(0)))

    def init(key: Array) -> tuple[Tree, Tree]:
        _, params, _, rest = parts(key)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def apply(params: Tree, rest: Tree, x: Array, train: bool, key: Array | None) -> tuple[Array, Tree]:
        module = nnx.merge(graphdef, params, _streams(random, key), rest)
        (module.train if train else module.eval)()
        outputs = module(x, **_flags(type(module).__call__, train, key))
        nnx.pop(module, nnx.Intermediate)  # what it sowed
        states: Any = nnx.split(module, nnx.Param, nnx.RngState, ...)
        return outputs, nnx.to_pure_dict(states[3])

    return Functions(init, apply)


def _streams(random: Any, key: Array | None) -> Any:
    """Returns the state of a module's random streams, each begun from a key of its own."""
    key = jax.random.key(0) if key is None else key
    leaves, tree = jax.tree.flatten(random)

    def begun(number: int, leaf: Any) -> Array:
        one = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) and leaf.shape == ()
        return jax.random.fold_in(key, number) if one else jnp.zeros(leaf.shape, leaf.dtype)

    return jax.tree.unflatten(tree, [begun(number, leaf) for number, leaf in enumerate(leaves)])


class Module(nnx.Module):
    """Functions as a Flax module, which is what the trainer takes. Its parameters have the names of their paths."""

    def __init__(self, of: Functions, key: Array) -> None:
        params, rest = of.init(key)
        self.of, self.trees = of, (jax.tree.structure(params), jax.tree.structure(rest))
        self.params, self.rest = _named(params, nnx.Param), _named(rest, nnx.Variable)

    def __call__(self, inputs: Array, *, train: bool = False, key: Array | None = None) -> Array:
        kept = (self.params, self.rest)
        leaves = [[variable.get_value() for variable in variables.values()] for variables in kept]
        params, rest = map(jax.tree.unflatten, self.trees, leaves)
        outputs, rest = self.of.apply(params, rest, inputs, train, key)
        for variable, leaf in zip(self.rest.values(), jax.tree.leaves(rest), strict=True):
            variable.set_value(leaf)
        return outputs


def _named(tree: Tree, kind: type[nnx.Variable]) -> nnx.Dict:
    path = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return nnx.Dict({path(keys): kind(leaf) for keys, leaf in jax.tree.leaves_with_path(tree)})
