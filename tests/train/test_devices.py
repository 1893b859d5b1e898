"""Devices that are not there, do not start, or fail."""

import os

import jax
import pytest
from processes import python, search_path

from smith.errors import UserError
from smith.train import devices

BROKEN = "def initialize(): raise RuntimeError('no driver\\nfor this card')"  # as CUDA's plugin does
CODE = "from smith.train import devices; devices.start(print); print('it goes on')"


@pytest.mark.parametrize(
    ("platforms", "words"),
    [
        ("", ["JAX says: no driver for this card", "it goes on"]),
        ("cpu", ["it goes on"]),
        ("cuda", ["UserError: JAX does not start with JAX_PLATFORMS=cuda: no driver for this card; JAX_PLATFORMS=cpu"]),
        ("abacus", ["UserError: JAX does not start with JAX_PLATFORMS=abacus: ", "known", "JAX_PLATFORMS=cpu trains"]),
    ],
)
def test_what_jax_says_of_a_platform_is_told_in_a_line(platforms, words, tmp_path):
    plugin = tmp_path / "jax_plugins" / "broken"
    plugin.mkdir(parents=True)
    (plugin / "__init__.py").write_text(BROKEN)
    search = os.pathsep.join([search_path(), str(tmp_path)])
    done = python("-c", CODE, PYTHONPATH=search, JAX_PLATFORMS=platforms)
    last = done.stderr.splitlines()[-1] if done.stderr else done.stdout
    assert all(word in last for word in words), done.stderr
    assert bool(done.stderr) == (platforms in ("cuda", "abacus"))


def test_without_a_word_of_jax_there_is_a_line_too(monkeypatch):
    def devices_() -> None:
        raise AssertionError

    monkeypatch.setattr(jax, "devices", devices_)
    with pytest.raises(UserError, match="there is no such device, or JAX is installed without it"):
        devices.start(print)


def test_a_device_that_fails_is_told_in_one_line_and_other_errors_are_not_touched():
    with pytest.raises(OSError, match="the device failed: RESOURCE_EXHAUSTED: Out of memory 9 bytes; JAX_PLATFORMS"):
        with devices.failures():
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory\n9 bytes")
    with pytest.raises(RuntimeError, match="mine"), devices.failures():
        raise RuntimeError("mine")
