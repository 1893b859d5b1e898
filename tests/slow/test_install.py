"""Installed as a package, not as a link to this folder, it is complete and works in any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed package. pip fetches setuptools to build it."""
    folder = tmp_path_factory.mktemp("installed")
    source = tmp_path_factory.mktemp("source") / "smith"
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    for name in tracked:
        if name.startswith(("smith/", "experiments/")) or "/" not in name:
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), str(source)]
    subprocess.run(command, check=True)
    return folder


def smith(installed: Path, folder: Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "smith", *arguments]
    return subprocess.check_output(command, cwd=folder, env=environment, text=True, stderr=subprocess.STDOUT)


def test_every_file_of_the_packages_is_installed(installed):
    tracked = subprocess.check_output(["git", "ls-files", "smith", "experiments"], cwd=ROOT, text=True).split()
    assert [name for name in tracked if not (installed / name).exists()] == []


def test_it_lists_trains_draws_and_reports_in_the_current_folder(installed, tmp_path, data_dir):
    assert "fig14" in smith(installed, tmp_path, "list")
    smith(installed, tmp_path, "run", "fig14", "--scale", "smoke", "--data-dir", str(data_dir))
    assert len(list((tmp_path / "results" / "smoke").glob("*.parquet"))) == 6
    assert (tmp_path / "drawn" / "smoke" / "fig14.png").exists()
    smith(installed, tmp_path, "report", "--scale", "smoke")
    assert (tmp_path / "report" / "index.html").exists()
    assert not list(installed.glob("**/*.parquet"))
