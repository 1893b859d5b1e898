"""Random bools for a CPU, the same that JAX draws with Threefry, in a tenth of the time."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

ROTATIONS = (13, 15, 26, 6), (17, 29, 16, 24)  # of Threefry-2x32, in turns of four rounds
AT_ONCE = 2**16  # numbers that are drawn in one piece


def is_known(key: Array, *_: float, **__: int) -> bool:
    """Says whether a key is of this kind, and JAX counts as is done here."""
    return jax.config.jax_threefry_partitionable and str(jax.random.key_impl(key)) == "threefry2x32"


def bernoulli(key: Array, probability: float, *, size: int) -> Array:
    """The double of `smith.networks.layers.bernoulli`.

    JAX's Threefry is a loop on a CPU, of which each turn reads and writes all numbers. Here it is one fused operation,
    in pieces, which are a loop so that XLA keeps the bools and does not compute them again wherever they are needed.
    """
    first, second = jax.random.key_data(key)
    keys = first, second, first ^ second ^ np.uint32(0x1BD11BDA)
    piece = -(-size // max(2, size // AT_ONCE))  # a loop of one turn would be none

    def drawn(start: Array) -> Array:
        x, y = jnp.full(piece, first), lax.iota(np.uint32, piece) + start + second
        for turn in range(5):
            for by in ROTATIONS[turn % 2]:
                x = x + y
                y = (y << np.uint32(by) | y >> np.uint32(32 - by)) ^ x
            x, y = x + keys[(turn + 1) % 3], y + keys[(turn + 2) % 3] + np.uint32(turn + 1)
        return ((x ^ y) >> np.uint32(9)).astype(np.float32) < np.float32(probability) * np.float32(2**23)

    return lax.map(drawn, jnp.arange(0, size, piece, np.uint32)).reshape(-1)[:size]
