"""The plain layers against Caffe's definitions in NumPy, and the faster ones of a CPU against them."""

from functools import partial
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from caffe import numpy_lrn, numpy_pool, relative
from jax import lax

from smith.networks import convolutions, cpu, layers, lenet
from smith.networks.cpu import tricks
from smith.networks.registry import Options
from smith.networks.windows import pooled_size

POOLS = [("max", 3, 2), ("max", 2, 2), ("average", 3, 2), ("average", 2, 2)]
SHAPES = [(2, 16, 16, 3), (2, 7, 10, 2), (2, 1, 2, 3)]  # sides that no window divides; smaller than a window


def draw(seed, shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def value_and_pullback(function, *arguments, fast):
    """Returns the value and, for a random gradient with respect to it, the gradients."""

    @jax.jit
    def both(*arguments):
        with tricks(fast):
            y, pullback = jax.vjp(function, *arguments)
        return y, pullback(draw(9, y.shape))

    return both(*arguments)


def pool(kind, window, stride):
    return partial(layers.max_pool if kind == "max" else layers.avg_pool, window=window, stride=stride)


# Caffe's definitions, in float64


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind, window, stride", POOLS)
def test_pools_are_caffe_s(kind, window, stride, shape, fast):
    """Sizes are rounded up; an average at the border is over the pixels inside."""
    x = draw(1, shape)
    with tricks(fast):
        y = pool(kind, window, stride)(x)
    assert y.shape[1:3] == tuple(pooled_size(side, window, stride) for side in shape[1:3])
    expected = numpy_pool(x.astype(np.float64), window, stride, np.max if kind == "max" else np.mean)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("scale", [50.0, 2000.0])
def test_lrn_is_caffe_s(scale, fast):
    x = draw(3, (2, 6, 7, 3), scale)
    with tricks(fast):
        y = layers.lrn_within_channel(x)
    np.testing.assert_allclose(y, numpy_lrn(x.astype(np.float64)), rtol=2e-6, atol=1e-7)


# Gradients


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind, window, stride", POOLS)
def test_the_gradient_of_a_fast_pool_is_the_plain_one_s(kind, window, stride, shape):
    plain, fast = (value_and_pullback(pool(kind, window, stride), draw(1, shape), fast=fast) for fast in (False, True))
    assert relative(fast, plain) < 1e-6


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("window, stride", [(3, 2), (2, 2)])
def test_of_equal_values_the_first_in_reading_order_gets_the_gradient(window, stride, fast):
    """So it is in Caffe and in XLA's own pool; whatever the ties, no gradient is lost or counted twice."""

    def xla(x):
        ends = [(pooled_size(side, window, stride) - 1) * stride + window - side for side in x.shape[1:3]]
        pads = [(0, 0), *[(0, max(end, 0)) for end in ends], (0, 0)]
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), pads)

    x = np.round(draw(2, (4, 9, 9, 5)))
    y, (dx,) = value_and_pullback(pool("max", window, stride), x, fast=fast)
    assert relative((y, (dx,)), value_and_pullback(xla, x, fast=False)) < 1e-6
    np.testing.assert_allclose(np.sum(dx, (1, 2)), draw(9, y.shape).sum((1, 2)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fast", [False, True])
def test_a_nan_goes_through_the_max_pool(fast):
    for place in range(4):
        x = jnp.zeros((1, 4, 4, 1)).at[0, place // 2, place % 2, 0].set(jnp.nan)
        with tricks(fast):
            assert np.isnan(layers.max_pool(x, window=2, stride=2)).ravel().tolist() == [True, False, False, False]


def test_the_gradient_of_the_fast_lrn_is_the_plain_one_s():
    x = draw(4, (3, 16, 16, 4)) * np.array([0, 1, 300], np.float32)[:, None, None, None]
    plain, fast = (value_and_pullback(layers.lrn_within_channel, x, fast=fast) for fast in (False, True))
    for image in range(3):
        assert relative(*(jax.tree.map(lambda y: y[image], result) for result in (fast, plain))) < 2e-6  # noqa: B023


def test_lenet_s_convolutions_with_the_batch_last_are_the_plain_ones():
    x, kernels = draw(1, (3, 16, 16, 2)), [draw(2, (5, 5, 2, 3), 0.2), draw(3, (3, 3, 3, 4), 0.2)]
    arguments = x, kernels[0], draw(4, (3,)), kernels[1], draw(5, (4,))
    plain, fast = (value_and_pullback(lenet.convolve_and_pool, *arguments, fast=fast) for fast in (False, True))
    assert plain[0].shape == (3, 2 * 2 * 4)
    assert relative(fast, plain) < 2e-6


SMALL = [  # images, kernel, strides, padding: smaller images than kernels, before or after the stride; 1 x 1 kernels
    ((3, 4, 4, 5), (5, 5, 5, 6), (1, 1), "SAME"),
    ((3, 1, 2, 5), (1, 7, 5, 6), (1, 1), "SAME"),
    ((3, 4, 5, 5), (3, 3, 5, 6), (2, 2), "VALID"),
    ((3, 5, 4, 5), (3, 3, 5, 6), (2, 2), ((1, 1), (0, 1))),
    ((3, 9, 8, 5), (1, 1, 5, 6), (2, 2), "SAME"),
]
LARGE = [  # with strides some of the last pixels may be under no weight
    ((3, 8, 9, 5), (5, 3, 5, 6), (1, 1), "SAME"),
    ((3, 6, 6, 5), (3, 3, 5, 6), (2, 2), "SAME"),
    ((3, 10, 9, 1), (3, 2, 1, 4), (2, 1), "VALID"),
    ((2, 12, 11, 3), (3, 4, 3, 4), (2, 3), ((1, 0), (2, 3))),
]


@pytest.mark.parametrize("images, kernel, strides, padding", [*SMALL, *LARGE])
def test_a_fast_convolution_is_the_plain_one(images, kernel, strides, padding):
    arguments = draw(1, images), draw(2, kernel, 0.2)
    layer = partial(layers.convolve, padding=padding, strides=strides)
    plain, fast = (value_and_pullback(layer, *arguments, fast=fast) for fast in (False, True))
    assert relative(fast, plain) < 2e-6


def test_which_convolutions_are_products():
    """Those that XLA would compute itself, or transpose for nothing; none of the large ones."""

    def products(images, kernel, strides, padding):
        layer = partial(layers.convolve, padding=padding, strides=strides)
        with tricks(True):
            return "dot_general" in str(jax.make_jaxpr(layer)(np.zeros(images), np.zeros(kernel)))

    assert all(products(*case) for case in [*SMALL, ((3, 4, 4, 5), (3, 3, 5, 6), (1, 1), "VALID")])
    assert not any(products(*case) for case in LARGE)


@pytest.mark.parametrize("native", [True, False])
def test_a_convolution_in_bfloat16_is_one_in_float32_where_the_processor_has_no_products_of_it(native, monkeypatch):
    monkeypatch.setattr(convolutions, "multiplies_bfloat16", lambda: native)
    images, kernel, strides, padding = LARGE[0]
    layer = partial(layers.convolve, strides=strides, padding=padding)
    lowered = [jnp.asarray(draw(seed, shape), jnp.bfloat16) for seed, shape in enumerate((images, kernel))]
    with tricks(True):
        lines = str(jax.make_jaxpr(layer)(*lowered)).splitlines()
        found, pullback = jax.vjp(layer, *lowered)
    assert [("bf16[" in line) for line in lines if "= conv_general_dilated[" in line] == [native]
    assert {x.dtype for x in jax.tree.leaves((found, pullback(found)))} == {lowered[0].dtype}
    whole = layer(*(x.astype(jnp.float32) for x in lowered))  # products of bfloat16 are exact in float32
    np.testing.assert_allclose(found.astype(jnp.float32), whole, rtol=2**-8, atol=1e-5)


@pytest.mark.parametrize(
    "flags, has", [("fma avx512_vnni avx512_bf16", True), ("fma avx512_vnni", False), (None, False)]
)
def test_what_the_processor_multiplies_is_read_from_linux(flags, has, tmp_path, monkeypatch):
    told = tmp_path / "cpuinfo"
    if flags:
        told.write_text(f"model\t: bf16x\nflags\t: {flags}\n")
    monkeypatch.setattr(cpu, "Path", lambda _: told)
    assert cpu.multiplies_bfloat16.__wrapped__() is has


@pytest.mark.skipif(version("jax") < "0.12", reason="JAX has no oneDNN for a CPU before 0.12")
def test_onednn_computes_a_convolution_and_both_its_gradients():
    def pulled(x, kernel, dy):
        with tricks(True):
            return jax.vjp(partial(layers.convolve, padding="SAME"), x, kernel)[1](dy)

    x, kernel = draw(1, (16, 16, 16, 8)), draw(2, (3, 3, 8, 8))
    compiled = jax.jit(pulled).lower(x, kernel, x).compile({"xla_cpu_experimental_onednn_custom_call": True})
    assert compiled.as_text().count('custom_call_target="__onednn$convolution"') == 2


# Dropout


@pytest.mark.parametrize("size, probability", [(1, 0.5), (1_001, 0.2), (3 * 2**16 + 7, 0.8)])
@pytest.mark.parametrize("kind", ["threefry2x32", "rbg"])
def test_the_random_bools_of_a_cpu_are_jax_s(kind, size, probability):
    key = jax.random.fold_in(jax.random.key(7, impl=kind), 3)
    with tricks(True):
        found = jax.jit(partial(layers.bernoulli, size=size), static_argnums=1)(key, probability)
    np.testing.assert_array_equal(found, jax.random.bernoulli(key, probability, (size,)))


# Fillers


def test_the_option_init_goes_before_a_layer_s_own():
    own = jax.nn.initializers.normal(1e-4)
    for init in (None, "scaled"):
        assert layers.initialiser(Options(init=init), own) is own
    assert layers.initialiser(Options(init="msra"), own) is layers.initialiser(Options(init="msra"), "xavier")
