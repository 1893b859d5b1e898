"""The solvers: Caffe's SGD and Nesterov as an ordinary Optax transformation, and a registry for any other.

    g = gradient + weight_decay * decay_multiplier * parameter      (L2 inside the gradient)
    v' = momentum * v + lr * lr_multiplier * g                      (the learning rate is inside the velocity)
    SGD:      parameter' = parameter - v'
    Nesterov: parameter' = parameter - ((1 + momentum) * v' - momentum * v)

`optax.sgd` multiplies by the learning rate after the momentum instead. The two agree while the rate is constant and
part ways as soon as it changes, which is what this paper is about.

Learning rate, momentum and weight decay act together (paper, section 4.3): what regularises is about
lr * weight_decay / ((1 - momentum) * batch size).

It is plain Optax, for loops of your own too, as in `nnx.Optimizer(model, caffe_sgd(rate, 0.9, 1e-4), wrt=nnx.Param)`.
docs/extending.md has a solver of your own.
"""

import inspect
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.tree_util import GetAttrKey, keystr

from smith.errors import UserError
from smith.registry import Registry

Tree = Any  # a pytree of arrays: nested dictionaries, or an nnx.State
Scalar = float | Array
Multipliers = Mapping[str, float] | None  # the path of a parameter, such as "dense/bias", or a pattern, to its factor


class CaffeState(NamedTuple):
    """What Caffe's solvers remember. count: () int32, updates so far; velocity: a tree like the parameters."""

    count: Array
    velocity: Tree


def caffe_sgd(
    learning_rate: Scalar | optax.Schedule,
    momentum: Scalar | optax.Schedule,
    weight_decay: Scalar | optax.Schedule,
    *,
    nesterov: bool = True,
    lr_multipliers: Multipliers = None,
    decay_multipliers: Multipliers = None,
) -> optax.GradientTransformation:
    """Returns Caffe's solver.

    Args:
      learning_rate, momentum, weight_decay: numbers, or functions of the count of updates so far.
      nesterov: Nesterov's accelerated gradient; False for plain momentum.
      lr_multipliers, decay_multipliers: path of a parameter, such as "dense/bias", or pattern, such as "*/bias", to
        factor; the others have 1.

    Raises:
      KeyError: in `init` and `update`, if no parameter has the path of a multiplier.
    """

    def init(params: Tree) -> CaffeState:
        for named in (lr_multipliers, decay_multipliers):
            factors(params, named)  # a misspelt path shows here
        return CaffeState(jnp.zeros((), jnp.int32), optax.tree.zeros_like(params))

    def update(grads: Tree, state: CaffeState, params: Tree = None) -> tuple[Tree, CaffeState]:
        if params is None:
            raise ValueError("Caffe's weight decay needs the parameters: call update(grads, state, params)")
        lr, m, wd = (_at(value, state.count) for value in (learning_rate, momentum, weight_decay))

        def new_velocity(v: Array, g: Array, p: Array, lr_factor: float, decay_factor: float) -> Array:
            return m * v + lr * lr_factor * (g + wd * decay_factor * p)

        multipliers = factors(params, lr_multipliers), factors(params, decay_multipliers)
        new = jax.tree.map(new_velocity, state.velocity, grads, params, *multipliers)
        if nesterov:
            updates = jax.tree.map(lambda v, old: -((1 + m) * v - m * old), new, state.velocity)
        else:
            updates = jax.tree.map(lambda v: -v, new)
        return updates, CaffeState(jnp.asarray(optax.safe_increment(state.count)), new)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _at(value: Scalar | optax.Schedule, count: Array) -> Any:
    return value(count) if callable(value) else value


def factors(params: Tree, named: Multipliers) -> Tree:
    """Returns a tree like `params` with a factor for every leaf: the one named for its path or a pattern of it, else 1.

    Raises:
      KeyError: a path or pattern that no parameter has.
    """
    patterns, used = named or {}, set()

    def factor(keys: Any, _: Any) -> float:
        found = [pattern for pattern in patterns if fnmatchcase(_path(keys), pattern)]
        used.update(found)
        return patterns[found[0]] if found else 1.0

    tree = jax.tree.map_with_path(factor, params)
    if left := [pattern for pattern in patterns if pattern not in used]:
        raise KeyError(f"no parameter at {', '.join(left)}")
    return tree


def _path(keys: tuple[Any, ...]) -> str:
    """Returns "dense/bias". The leaves of an nnx.State lie one deeper, at the `value` of each variable."""
    inside = keys[:-1] if keys and keys[-1] == GetAttrKey("value") else keys
    return keystr(inside, simple=True, separator="/")


SOLVERS: Registry[Callable[..., optax.GradientTransformation]] = Registry("solver")  # a run names one of these


def solver(name: str) -> Callable[[Any], Any]:
    """Registers the decorated function, for runs with `solver=name`.

    It takes learning rate, momentum and weight decay, which may be traced, and as keywords `lr_multipliers` and
    `decay_multipliers`, the network's, by path; one that has no use for these takes **_.

    Raises:
      UserError: the name is taken.
    """

    def add(factory: Any) -> Any:
        try:
            inspect.signature(factory).bind(0.0, 0.0, 0.0, lr_multipliers=None, decay_multipliers=None)
        except TypeError as error:
            raise UserError(f"solver {name!r}: {error}: it takes learning_rate, momentum, weight_decay, **_") from error
        return SOLVERS.add(name, factory, factory)

    return add


for name, nesterov in {"nesterov": True, "sgd": False}.items():
    SOLVERS.add(name, partial(caffe_sgd, nesterov=nesterov), caffe_sgd)


@solver("adamw")
def adamw(learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar, **multipliers: Multipliers) -> Any:
    """Returns `optax.adamw` with multipliers. The momentum is Adam's b1."""
    return _decoupled(optax.scale_by_adam(b1=momentum), learning_rate, weight_decay, **multipliers)


@solver("muon")
def muon(learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar, **multipliers: Multipliers) -> Any:
    """Returns `optax.contrib.muon` with multipliers: Muon for matrices, Adam for all else, weight decay for both.

    The momentum is Muon's beta.
    """
    direction = optax.contrib.muon(-1.0, beta=momentum)  # the rate's sign cancels the one that Optax gives it
    return _decoupled(direction, learning_rate, weight_decay, **multipliers)


@solver("schedule-free-sgd")
def schedule_free_sgd(
    learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar, **multipliers: Multipliers
) -> optax.GradientTransformation:
    """Returns schedule-free SGD (arXiv:2405.15682): no momentum but an average of the parameters, which is tested.

    The momentum is its beta: where between the average and the fast parameters the gradient is taken. It has to be
    above 0 and constant, the learning rate constant after a warm-up.
    """
    base = _decoupled(optax.identity(), learning_rate, weight_decay, **multipliers)
    return optax.contrib.schedule_free(base, learning_rate, b1=momentum)


@solver("schedule-free-adamw")
def schedule_free_adamw(
    learning_rate: Scalar, momentum: Scalar, weight_decay: Scalar, **multipliers: Multipliers
) -> optax.GradientTransformation:
    """Returns schedule-free AdamW: as schedule-free SGD, with Adam's directions without their first moment."""
    base = _decoupled(optax.scale_by_adam(b1=0.0), learning_rate, weight_decay, **multipliers)
    return optax.contrib.schedule_free(base, learning_rate, b1=momentum)


def injects(state: optax.OptState) -> bool:
    """Says whether a part of a solver's state keeps the values with which it began (`optax.inject_hyperparams`)."""

    def keeps(part: Any) -> bool:
        return hasattr(part, "hyperparams")

    return any(map(keeps, jax.tree.leaves(state, is_leaf=keeps)))


def averages(state: optax.OptState) -> bool:
    """Says whether a solver tests other parameters than it trains: an average of them."""
    return isinstance(state, optax.contrib.ScheduleFreeState)


def averaged(state: Any, params: Tree, momentum: Scalar) -> Tree:
    """Returns the parameters that a solver tests, where `averages` says so."""
    return optax.contrib.schedule_free_eval_params(state._replace(b1=momentum), params)


def _decoupled(
    direction: optax.GradientTransformation,
    learning_rate: Scalar,
    weight_decay: Scalar,
    lr_multipliers: Multipliers,
    decay_multipliers: Multipliers,
) -> optax.GradientTransformation:
    """Returns a solver whose decay is added to the direction: parameter' = parameter - lr * (d + wd * parameter)."""

    def scaled(updates: Tree, params: Tree) -> Tree:
        pairs = factors(params, lr_multipliers), factors(params, decay_multipliers)
        return jax.tree.map(lambda d, p, by_lr, by_wd: by_lr * (d + weight_decay * by_wd * p), updates, params, *pairs)

    return optax.chain(direction, optax.stateless(scaled), optax.scale_by_learning_rate(learning_rate))
