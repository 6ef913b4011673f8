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

POSIX = ("fcntl", "resource", "termios")
EVERYTHING = f"""
import importlib, pkgutil, sys
sys.modules |= dict.fromkeys({POSIX})
import elites.agents, elites.dynamics, elites.envs, elites.networks, elites.planners, elites.runs
for package in (elites.agents, elites.dynamics, elites.envs, elites.networks, elites.planners, elites.runs):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("._kernel"):  # no module of Python
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name not in ("mbrl", "stable_baselines3"):  # optional libraries
                    raise
"""


def test_planning_loads_no_environments_no_pictures_and_nothing_of_one_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_module_needs_what_windows_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
