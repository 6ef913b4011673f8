"""The global generators of the process, for users' code. The library has generators of its own.

The global ones belong to the main thread. A run in another thread leaves them alone.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def seed_globally(seed: int) -> None:
    if in_main_thread():
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)


def global_state() -> dict[str, Any] | None:
    """None outside the main thread."""
    if not in_main_thread():
        return None
    name, keys, *numpy_rest = np.random.get_state()  # noqa: NPY002
    return {
        "torch": torch.get_rng_state(),
        "numpy": [name, np.asarray(keys).tolist(), *numpy_rest],
        "python": random.getstate(),
    }


def set_global_state(state: Mapping[str, Any] | None) -> None:
    if state is None or not in_main_thread():
        return
    torch.set_rng_state(state["torch"])
    np.random.set_state(tuple(state["numpy"]))  # noqa: NPY002
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
