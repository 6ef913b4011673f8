"""Model-based MPC planning: one search core, for action sequences, Q-functions and policy weights."""

from pathlib import Path

from elites.spaces import Box, Choices, Space

__version__ = "0.1.0"
__all__ = ["Box", "Choices", "Space", "__version__"]

# The subpackages (planners/, agents/, …) stand beside this folder in a checkout and inside it in an installed wheel.
_here = Path(__file__).parent
if not (_here / "planners").is_dir():
    __path__.append(str(_here.parent))
