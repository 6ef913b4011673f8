"""The folders of this repository as one package: planners/ is elites.planners, agents/ is elites.agents, and so on."""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "elites/__init__.py").read_text()).group(1)

PLOTS = ["matplotlib>=3.8"]
RUNS = [*PLOTS, "imageio-ffmpeg>=0.5", "tensorboard>=2.16"]
DOCS = ["mkdocs-material>=9.5", "mkdocstrings[python]>=0.26"]
DEVELOPMENT = [
    "build>=1.2",
    "hypothesis>=6.100",
    "import-linter>=2.0",
    "mypy>=1.10",
    "pre-commit>=3.7",
    "pytest>=8.2",
    "pytest-xdist>=3.6",
    "ruff>=0.6",
    "setuptools>=77",
    "types-PyYAML",
]

setup(
    name="elites",
    version=VERSION,
    description="Model-based MPC planning: one search core for action sequences, Q-functions and policy weights",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.2",
        "numpy>=1.26",
        "gymnasium[mujoco]>=1.0",
        "pillow>=9.1",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "plots": PLOTS,
        "runs": RUNS,
        "docs": DOCS,
        "all": RUNS,
        "dev": [*RUNS, *DOCS, *DEVELOPMENT],
    },
    packages=["elites", "elites.planners", "elites.dynamics", "elites.envs", "elites.agents", "elites.configs"],
    package_dir={
        "elites": "elites",
        "elites.planners": "planners",
        "elites.dynamics": "dynamics",
        "elites.envs": "envs",
        "elites.agents": "agents",
        "elites.configs": "configs",
    },
    package_data={"elites": ["py.typed"], "elites.configs": ["*/*.yaml"]},
)
