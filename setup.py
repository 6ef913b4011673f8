"""The folders of this repository as one package: planners/ is elites.planners, agents/ is elites.agents, and so on."""

import os
import re
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).parent
FOLDERS = ["networks", "planners", "dynamics", "envs", "agents", "runs", "configs"]
WITHIN = ["agents.algorithms", "planners.distributions", "runs.bench", "runs.commands", "runs.report", "runs.workers"]
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "elites/__init__.py").read_text()).group(1)

REPOSITORY = "https://github.com/elites-mpc/elites"
DOCUMENTATION = "https://elites-mpc.github.io/elites"
PROJECT_URLS = {
    "Documentation": DOCUMENTATION,
    "Source": REPOSITORY,
    "Changelog": f"{REPOSITORY}/blob/main/CHANGELOG.md",
    "Issues": f"{REPOSITORY}/issues",
}
KEYWORDS = [
    "model predictive control",
    "model-based reinforcement learning",
    "reinforcement learning",
    "planning",
    "cross-entropy method",
    "CEM",
    "MPPI",
    "PETS",
    "PyTorch",
]
CLASSIFIERS = [
    "Development Status :: 4 - Beta",
    "Environment :: Console",
    "Intended Audience :: Developers",
    "Intended Audience :: Education",
    "Intended Audience :: Science/Research",
    "Operating System :: OS Independent",
    "Programming Language :: C++",
    *(f"Programming Language :: Python :: {python}" for python in ["3", "3.10", "3.11", "3.12", "3.13", "3.14"]),
    "Programming Language :: Python :: 3 :: Only",
    "Topic :: Scientific/Engineering",
    "Topic :: Scientific/Engineering :: Artificial Intelligence",
    "Typing :: Typed",
]

PLOTS = ["matplotlib>=3.8"]
PYGAME = [  # Gymnasium draws with it; pygame has no wheels for Python 3.14, its fork has
    "pygame>=2.5; python_version < '3.14'",
    "pygame-ce>=2.5.6; python_version >= '3.14'",
]
RUNS = [*PLOTS, *PYGAME, "imageio-ffmpeg>=0.5", "tensorboard>=2.16.2"]
ONNX = ["torch>=2.13", "onnx>=1.23.2", "onnxruntime>=1.23.2", "onnxscript>=0.7.2"]  # older ones fail to export
MINARI = ["minari[hdf5]>=0.5.3"]
RAY = ["ray>=2.51"]
CMA = ["cma>=4"]
CUDA = ["cuda-bindings>=12.9"]  # and a torch with CUDA, which brings the compiler
# No bounds: who develops takes the versions of constraints.txt.
DOCS = ["mkdocs-material", "mkdocstrings[python]"]
DEVELOPMENT = [
    "build",
    "codespell[toml]",
    "hypothesis",
    "import-linter",
    "ipykernel",
    "mypy",
    "nbclient",
    "pre-commit",
    "pytest",
    "pytest-xdist",
    "ruff",
    "setuptools",
    "types-PyYAML",
]

# ELITES_PURE=1 builds a wheel for every platform. It has no kernel, and torch computes everything.
PURE = os.environ.get("ELITES_PURE", "0") != "0"
# The kernel calls nothing of Python, so one wheel serves every version from 3.10 on. Free-threaded builds refuse that.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")
# Optional: without a compiler the installation goes on.
KERNEL = Extension(
    "elites.networks._kernel",
    ["networks/kernel/kernel.cpp"],
    depends=[str(path.relative_to(HERE)) for path in sorted((HERE / "networks/kernel").glob("*.h"))],
    extra_compile_args=["-std=c++17", "-O3", "-g0", "-fno-math-errno", "-ffp-contract=fast", "-fvisibility=hidden"],
    extra_link_args=["-pthread"],
    language="c++",
    py_limited_api=LIMITED,
    optional=True,
)


class BuildKernel(build_ext):
    """Leaves out a file that was not built, because a strict editable install would look for it."""

    def run(self) -> None:
        """Removes kernels of earlier builds from the checkout: Python could prefer them to the new one."""
        for old in (HERE / "networks").glob("_kernel.*") if self.inplace or self.editable_mode else ():
            old.unlink()
        super().run()

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if Path(path).exists()]

    def get_output_mapping(self) -> dict[str, str]:
        return {built: path for built, path in super().get_output_mapping().items() if Path(path).exists()}


def readme() -> str:
    """The README for the package index: its links lead to this release in the repository."""

    def absolute(link: re.Match[str]) -> str:
        kind = "raw" if link[2].endswith((".png", ".jpg", ".gif", ".svg", ".webp", ".mp4")) else "blob"
        return f"{link[1]}{REPOSITORY}/{kind}/v{VERSION}/{link[2]}"

    text = (HERE / "README.md").read_text(encoding="utf-8")
    return re.sub(r"""(\]\(|\b(?:src|srcset|href)=")(?!https?:|mailto:|#)([^\s)"]+)""", absolute, text)


setup(
    name="elites",
    version=VERSION,
    description="Model-based MPC planning: one search core for action sequences, Q-functions and policy weights",
    long_description=readme(),
    long_description_content_type="text/markdown",
    author="the elites contributors",
    url=REPOSITORY,
    project_urls=PROJECT_URLS,
    keywords=KEYWORDS,
    classifiers=CLASSIFIERS,
    license_expression="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.8",
        "numpy>=1.26",
        "gymnasium[mujoco]>=1.1",
        "pillow>=10.1",
        "pyyaml>=6.0",
        "safetensors>=0.4.4",
    ],
    extras_require={
        "plots": PLOTS,
        "runs": RUNS,
        "onnx": ONNX,
        "minari": MINARI,
        "ray": RAY,
        "cma": CMA,
        "cuda": CUDA,
        "docs": DOCS,
        "all": [*RUNS, *ONNX, *MINARI, *RAY, *CMA],
        "dev": [*RUNS, *ONNX, *MINARI, *RAY, *CMA, *DOCS, *DEVELOPMENT],
    },
    packages=["elites", *(f"elites.{folder}" for folder in [*FOLDERS, *WITHIN])],
    package_dir={"elites": "elites"} | {f"elites.{folder}": folder for folder in FOLDERS},
    entry_points={"console_scripts": ["elites = elites.__main__:main"]},
    ext_modules=[] if PURE else [KERNEL],
    cmdclass={"build_ext": BuildKernel},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if LIMITED and not PURE else {},
    package_data={
        "elites": ["py.typed"],
        "elites.configs": ["*/*.yaml", "*/*/*.yaml"],
        "elites.networks": ["kernel/*.cu"],
    },
)
