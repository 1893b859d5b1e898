"""The settings of a process that computes on a CPU, and what keeps XLA from computing too often there."""

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from caffe import relative
from small import slow

from smith.data import DATASETS
from smith.networks import cpu
from smith.networks.layers import convolve
from smith.run import Run, iterations
from smith.train import step

# https://github.com/jax-ml/jax/issues/39103: jaxlib 0.10.2 makes the last sum 0.2 % too small
SUMS_OF_SQUARES = """
from smith.networks.cpu import prepare_process
prepare_process()
import jax, jax.numpy as jnp
rows = jnp.zeros((32769, 3)).at[:, 0].set(jnp.arange(32769.0))
print(float(jax.jit(jax.vmap(lambda row: jnp.sum((jnp.eye(3) @ row) ** 2)))(rows)[-1]))
"""


CONVOLUTION = """
from smith.networks.cpu import prepare_process
prepare_process()
import jax, jax.numpy as jnp
print(float(jax.lax.conv(jnp.ones((1, 4, 8, 8)), jnp.ones((1, 4, 3, 3)), (1, 1), "VALID")[0, 0, :4, :4].sum()))
"""


def as_started_by_a_user(code, **variables):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "JAX_"))}
    environment |= {"JAX_PLATFORMS": "cpu", "PYTHONPATH": os.pathsep.join(sys.path), **variables}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_a_sum_that_ynnpack_gets_wrong_is_right():
    result = as_started_by_a_user(SUMS_OF_SQUARES)
    assert (result.stdout, result.returncode) == (f"{32768.0**2}\n", 0), result.stderr


def flags_after(monkeypatch, before, known=True):
    monkeypatch.setattr(cpu, "LIBRARIES", {"xla_a": "", "xla_b": "true"})
    monkeypatch.setattr(cpu, "xla_knows", lambda flag: known)
    monkeypatch.setenv("XLA_FLAGS", before)
    cpu.choose_libraries()
    cpu.choose_libraries()
    return os.environ["XLA_FLAGS"]


def test_the_user_s_own_flags_stay(monkeypatch):
    own = "--xla_dump_to=/tmp/x --xla_cpu_use_fusion_emitters=true"
    assert flags_after(monkeypatch, "") == "--xla_a= --xla_b=true"
    assert flags_after(monkeypatch, own) == f"{own} --xla_a= --xla_b=true"
    assert flags_after(monkeypatch, "--xla_b=false") == "--xla_b=false --xla_a="


def test_a_flag_that_xla_does_not_know_is_left_out(monkeypatch):
    """XLA ends the process at one."""
    assert flags_after(monkeypatch, "--xla_dump_to=/tmp/x", known=False) == "--xla_dump_to=/tmp/x"


@pytest.mark.skipif(version("jax") < "0.12", reason="JAX has no oneDNN for a CPU before 0.12")
@pytest.mark.parametrize("network", ["lenet", "shallow3", "resnet-8", *slow("resnet-8-relu", "densenet-10")])
def test_onednn_gives_the_loss_and_the_gradient_of_xla_s_own_convolutions(network):
    """The other tests compute without it, because its programs can not be saved."""
    data = "mnist" if network == "lenet" else "cifar10"
    program, keys = step.program_of(Run(data, network, 32, iterations(1), 0.1)), step.keys_of(0)
    state = step.init(program, keys.init)
    shape = (32, *DATASETS[data].image_shape)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    gradient = jax.jit(step.gradient, static_argnames="program")
    arguments = {"images": images, "labels": jnp.arange(32) % 10, "key": keys.noise}
    lowered = gradient.lower(state.params, state.rest, program, **arguments)
    found = []
    for used in (True, False):
        compiled = lowered.compile(compiler_options={"xla_cpu_experimental_onednn_custom_call": used})
        assert ("__onednn" in compiled.as_text()) == used
        found.append(compiled(state.params, state.rest, **arguments))
    assert relative(*found) < 1e-5


def test_a_process_that_calls_onednn_says_nothing_of_programs_that_can_not_be_saved(tmp_path):
    cached = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    result = as_started_by_a_user(CONVOLUTION, **cached)
    assert (result.stdout, result.stderr, result.returncode) == ("576.0\n", "", 0)


def test_the_flags_that_xla_knows():
    assert cpu.xla_knows("xla_dump_to")
    assert not cpu.xla_knows("xla_dump_t") and not cpu.xla_knows("xla_there_is_no_such_flag")


def test_freed_memory_can_be_kept_with_glibc():
    assert cpu.keep_freed_memory() == (sys.platform == "linux" and "glibc" in os.confstr("CS_GNU_LIBC_VERSION"))


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").exists(), reason="the kernel has no huge pages")
def test_the_heap_is_advised_to_have_huge_pages():
    flags = re.findall(r"\[heap\]$.*?^VmFlags: (.*?)$", Path("/proc/self/smaps").read_text(), re.MULTILINE | re.DOTALL)
    assert any("hg" in line.split() for line in flags) == cpu.keep_freed_memory()


def test_tricks_are_for_what_is_traced_inside_them():
    x = jnp.ones((1, 4, 4, 1))
    first = jax.jit(cpu.computed_once)
    plain = first.lower(x).as_text()
    with cpu.tricks(True):
        fast = first.lower(x).as_text()
    assert "divide" in fast and "divide" not in plain and "divide" not in first.lower(x).as_text()


def test_what_is_computed_once_is_the_same_to_the_bit():
    x = jnp.array([0.1, -3e38, 2e-38, -0.0, jnp.inf, -jnp.inf, jnp.nan], jnp.float32)
    with cpu.tricks(True):
        value, pull = jax.vjp(jax.jit(cpu.computed_once), x)
    assert np.asarray(value).tobytes() == np.asarray(x).tobytes()
    assert np.asarray(pull(x)[0]).tobytes() == np.asarray(x).tobytes()


def test_a_chain_of_blocks_is_not_computed_again_for_every_block():
    """With ReLUs after the sums XLA for a CPU repeats all earlier blocks in every later one, if it is let."""

    def loss(x, kernels):
        for kernel in kernels:
            x = cpu.computed_once(jax.nn.relu(x + convolve(x, kernel, padding="SAME")))
        return x.sum()

    def maxima(tricks):
        with cpu.tricks(tricks):
            lowered = jax.jit(jax.grad(loss, 1)).lower(x, kernels)
        return lowered.compile().as_text().count(" maximum(")

    x, kernels = jnp.ones((2, 8, 8, 4)), [jnp.ones((3, 3, 4, 4))] * 8
    assert maxima(True) <= 3 * len(kernels) < maxima(False)
