"""Model-based MPC planning: one search core, for action sequences, Q-functions and policy weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from elites.agents import Learner
    from elites.spaces import Box, Choices, Space

__version__ = "0.1.0"
__all__ = ["Box", "Choices", "Space", "__version__", "load"]

# The subpackages (planners/, agents/, …) are beside this folder in a checkout, and inside it in an installed wheel.
_here = Path(__file__).parent
if not (_here / "planners").is_dir():
    __path__.append(str(_here.parent))


def __getattr__(name: str) -> object:
    """Imports the spaces, and PyTorch with them, when they are asked for. `elites.cli` must come first (see there)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from elites import spaces

    return getattr(spaces, name)


def load(run: Path | str, device: str = "cpu") -> Learner:
    """The agent of a run, ready to act: `elites.load("outputs/Pendulum-v1-cgp-0").act(observation)`."""
    from elites.runs.load import load as load_agent

    return load_agent(run, device=device)
