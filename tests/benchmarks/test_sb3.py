"""benchmarks/sb3.py without Stable-Baselines3. With it, people run it by hand (docs/guides/model_free.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/sb3.py"


def test_what_it_says_without_it(tmp_path: Path) -> None:
    code = (
        "import sys, runpy; sys.modules['stable_baselines3'] = None; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "metrics.csv").touch()
    for flags, message in (
        (["--out", tmp_path / "run"], "make .venv-mbrl/peers installs it into .venv-mbrl"),
        ([], "--out: expected a folder for the run"),
        (["--out", tmp_path / "run", "--env", "Pendulam-v1"], "env: Environment `Pendulam` doesn't exist"),
        (["--out", tmp_path / "run", "--evaluate-every", "0"], "--evaluate-every: expected at least 1, got 0"),
        (["--out", theirs], "theirs holds a run already"),
    ):
        call = [sys.executable, "-c", f"import sys; sys.argv = {[str(SCRIPT), *map(str, flags)]!r}; {code}"]
        done = subprocess.run(call, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("sb3: ")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()
