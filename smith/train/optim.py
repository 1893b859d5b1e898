"""Caffe's SGD and Nesterov as Optax transformations, with hyper-parameters that are arguments of the update.

    g = gradient + weight_decay * decay_multiplier * parameter      (L2 inside the gradient)
    v' = momentum * v + lr * lr_multiplier * g                      (the learning rate is inside the velocity)
    SGD:      parameter' = parameter - v'
    Nesterov: parameter' = parameter - ((1 + momentum) * v' - momentum * v)

`optax.sgd` multiplies by the learning rate after the momentum instead. The two agree while the rate is constant and
part ways as soon as it changes, which is what this paper is about.

Learning rate, momentum and weight decay act together (paper, section 4.3): what regularises is about
lr * weight_decay / ((1 - momentum) * batch size).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax import Array

Tree = Any  # a pytree of arrays, nested dictionaries here


class CaffeState(NamedTuple):
    """The velocity, a tree like the parameters."""

    velocity: Tree


def multipliers(params: Tree, named: Mapping[str, float]) -> Tree:
    """Returns a tree like `params` with a factor for every leaf: the one named for its path ("conv1/bias"), else 1.

    Raises:
      KeyError: a path that is not in `params`.
    """
    missing = dict(named)
    tree = jax.tree.map_with_path(
        lambda path, _: missing.pop(jax.tree_util.keystr(path, simple=True, separator="/"), 1.0), params
    )
    if missing:
        raise KeyError(f"no parameter at {', '.join(missing)}")
    return tree


def caffe(lr_multipliers: Tree, decay_multipliers: Tree, *, nesterov: bool) -> optax.GradientTransformationExtraArgs:
    """Returns Caffe's solver. `update` takes `lr`, `momentum` and `weight_decay` as scalars of every iteration.

    Args:
      lr_multipliers, decay_multipliers: trees of factors, like the parameters (see `multipliers`).
      nesterov: Nesterov's accelerated gradient, else plain momentum.
    """

    def init(params: Tree) -> CaffeState:
        return CaffeState(optax.tree.zeros_like(params))

    def update(
        grads: Tree, state: CaffeState, params: Tree, *, lr: Array, momentum: Array, weight_decay: Array, **_: Any
    ) -> tuple[Tree, CaffeState]:
        def new_velocity(v: Array, g: Array, p: Array, lr_factor: float, decay_factor: float) -> Array:
            return momentum * v + lr * lr_factor * (g + weight_decay * decay_factor * p)

        old = state.velocity
        new = jax.tree.map(new_velocity, old, grads, params, lr_multipliers, decay_multipliers)
        if nesterov:
            updates = jax.tree.map(lambda v, v_old: -((1 + momentum) * v - momentum * v_old), new, old)
        else:
            updates = jax.tree.map(lambda v: -v, new)
        return updates, CaffeState(new)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]
