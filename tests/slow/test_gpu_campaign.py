"""scripts/gpu_campaign.sh, rehearsed on a CPU."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_a_campaign_of_two_minutes_trains_packs_and_ends_in_time(tmp_path, data_dir):
    """The last figure is stopped, at whatever run it is, and the campaign still packs what there is."""
    places = {"PYTHON": sys.executable, "RESULTS": str(tmp_path / "results"), "TFDS_DATA_DIR": str(data_dir)}
    command = ["bash", str(ROOT / "scripts" / "gpu_campaign.sh"), "2", "out", "smoke"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | places, timeout=180, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("python 3.") and "cpu" in done.stdout.lower()
    pieces = sorted((tmp_path / "out").glob("results.tar.*"))
    whole = tmp_path / "whole.tar"
    whole.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    with tarfile.open(whole) as content:
        assert "smoke/fig06.parquet" in content.getnames()
