"""The folders of this repository as one package: planners/ is elites.planners, agents/ is elites.agents, and so on."""

import re
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
FOLDERS = ["networks", "planners", "dynamics", "envs", "agents", "runs", "configs"]
WITHIN = ["planners.distributions", "runs.bench", "runs.commands", "runs.report"]
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "elites/__init__.py").read_text()).group(1)

PLOTS = ["matplotlib>=3.8"]
RUNS = [*PLOTS, "imageio-ffmpeg>=0.5", "pygame>=2.5", "tensorboard>=2.16"]
ONNX = ["onnx>=1.16", "onnxruntime>=1.18", "onnxscript>=0.2"]
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

# The compiled kernel. If it cannot be built, everything runs in torch.
KERNEL = Extension(
    "elites.networks._kernel",
    ["networks/kernel/kernel.cpp"],
    depends=[str(path.relative_to(HERE)) for path in sorted((HERE / "networks/kernel").glob("*.h"))],
    extra_compile_args=["-std=c++17", "-O3", "-g0", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"],
    extra_link_args=["-pthread"],
    language="c++",
    optional=True,
)


class BuildKernel(build_ext):
    """Leaves out a file that was not built, because a strict editable install would look for it."""

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if Path(path).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        return {built: path for built, path in super().get_output_mapping().items() if Path(path).exists()}


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
        "gymnasium[mujoco]>=1.1",
        "pillow>=9.1",
        "pyyaml>=6.0",
        "safetensors>=0.4.3",
    ],
    extras_require={
        "plots": PLOTS,
        "runs": RUNS,
        "onnx": ONNX,
        "docs": DOCS,
        "all": [*RUNS, *ONNX],
        "dev": [*RUNS, *ONNX, *DOCS, *DEVELOPMENT],
    },
    packages=["elites", *(f"elites.{folder}" for folder in [*FOLDERS, *WITHIN])],
    package_dir={"elites": "elites"} | {f"elites.{folder}": folder for folder in FOLDERS},
    entry_points={"console_scripts": ["elites = elites.runs.commands.main:main"]},
    ext_modules=[KERNEL],
    cmdclass={"build_ext": BuildKernel},
    package_data={"elites": ["py.typed"], "elites.configs": ["*/*.yaml"]},
)
