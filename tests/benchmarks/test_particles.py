"""benchmarks/particles.py: its figures by hand, its noise, and a tiny run."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, tensor

from elites.dynamics import EnsembleConfig, ProbabilisticEnsemble
from elites.networks.architecture import Architecture

ROOT = Path(__file__).parents[2]


def test_rank_correlation_by_hand(particles: Any) -> None:
    """1 - 6 Σ d² / n (n² - 1) without ties."""
    a = tensor([0.1, 5.0, 2.0, 3.0])  # ranks 0 3 1 2
    assert particles.rank_correlation(a, a.exp()) == pytest.approx(1)
    assert particles.rank_correlation(a, -a) == pytest.approx(-1)
    b = tensor([9.0, 8.0, 1.0, 2.0])  # ranks 3 2 0 1
    assert particles.rank_correlation(a, b) == pytest.approx(1 - 6 * (9 + 1 + 1 + 1) / (4 * 15))


def test_gain_by_hand(particles: Any) -> None:
    truth = torch.arange(40.0)
    assert particles.gain(truth, truth) == pytest.approx(1)
    assert particles.gain(-truth, truth) == pytest.approx(-1)
    scores = torch.where((truth >= 25) & (truth < 35), 1.0, 0.0) + truth / 1000  # the ten from 25 to 34 look best
    assert particles.gain(scores, truth) == pytest.approx((29.5 - 19.5) / (34.5 - 19.5))


def test_stratified_noise_has_a_particle_in_every_share_of_the_normal(particles: Any) -> None:
    model = ProbabilisticEnsemble(
        3, 1, EnsembleConfig(architecture=Architecture((8,), "silu")), rng=Generator().manual_seed(0)
    )
    draw = particles.Stratified(model).draw(10, 6, Generator().manual_seed(1))
    assert draw.noise.epsilon.shape == (10, 1, 6, 3)
    share = (torch.special.ndtr(draw.noise.epsilon) * 10).floor()
    torch.testing.assert_close(share.sort(0).values, torch.arange(10.0).reshape(-1, 1, 1, 1).expand(10, 1, 6, 3))


def test_a_tiny_run(particles: Any, tmp_path: Path) -> None:
    run, table, picture = tmp_path / "run", tmp_path / "all.csv", tmp_path / "all.png"
    tiny = "planner.samples=20 planner.elites=2 planner.iterations=1 horizon=5 model.architecture.hidden=[16]"
    tiny += " training.epochs=100 training.learning_rate=0.02 random_episodes=2 episodes=1 episode_steps=60"
    options = ["--planner", "cem", "--out", str(run), "--quiet", *(f"--set={entry}" for entry in tiny.split())]
    subprocess.run([sys.executable, "examples/pets.py", *options], cwd=ROOT, check=True, capture_output=True)
    command = [sys.executable, "benchmarks/particles.py", "--csv", str(table), "--out", str(picture)]
    small = ["--states", "1", "--many", "100"]
    done = subprocess.run([*command, str(run), *small], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert len(rows) == 2 * (4 * len(particles.COUNTS) + 1)
    rank = {(row["iteration"], row["noise"], row["particles"]): float(row["rank"]) for row in rows}
    for iteration in ("first", "last"):
        assert rank[iteration, "independent", "1"] < rank[iteration, "independent", "50"] < 1
        assert rank[iteration, "independent", "50"] < rank[iteration, "common", "100"] <= 1
    assert done.stdout.count("\n") == 2 + 4 * len(particles.COUNTS) + 1
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout == done.stdout
    (run / "config.yaml").unlink()
    done = subprocess.run([*command, str(run)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == f"particles: {run}: expected the folder of a run, found no config.yaml in it\n"
