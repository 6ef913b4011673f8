"""The modules that an agent loads which only plans."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("gymnasium", "mujoco", "resource", "matplotlib", "pygame", "tensorboard")
PROGRAM = f"""
import sys
from elites.agents import MPC
sys.exit(", ".join(name for name in {HEAVY} if name in sys.modules) or None)
"""


def test_planning_loads_no_environments_no_pictures_and_nothing_of_one_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
