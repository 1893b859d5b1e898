"""The files that name versions agree: requirements*.txt, uv.lock, pyproject.toml and .pre-commit-config.yaml."""

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FILES = [path.name for path in sorted(ROOT.glob("requirements*.txt"))]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def pins(name: str) -> list[Requirement]:
    lines = [line.partition(" #")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-r"))]


@pytest.mark.parametrize("name", FILES)
def test_what_is_pinned_is_what_the_lock_file_has(name):
    locked = {(package["name"], package["version"]) for package in LOCK if "version" in package}
    for pin in pins(name):
        [specifier] = pin.specifier
        assert specifier.operator == "==" and (pin.name, specifier.version) in locked, str(pin)


def test_everything_that_smith_needs_is_pinned():
    pinned = {pin.name for pin in pins("requirements-cpu.txt")}
    assert {Requirement(line).name for line in PROJECT["dependencies"]} <= pinned


def test_the_lock_file_can_be_used_anywhere():
    assert {tuple(package["source"]) for package in LOCK} == {("registry",), ("editable",)}
    assert len({package["source"].get("registry") for package in LOCK}) == 2  # one index, and smith itself
    files = [file["url"] for package in LOCK for file in package.get("wheels", [])]
    assert files and all(url.startswith("https://") for url in files)


def test_the_hook_formats_as_the_test_command_does():
    [ruff] = [str(pin.specifier) for pin in pins("requirements-test.txt") if pin.name == "ruff"]
    assert f"rev: v{ruff.removeprefix('==')} " in (ROOT / ".pre-commit-config.yaml").read_text()
