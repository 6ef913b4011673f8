"""Tests against the libraries that ours is compared with, in an environment of their own: `make test-mbrl`."""

import importlib.util

import torch

torch.set_num_threads(1)  # the networks are tiny

collect_ignore_glob = [] if importlib.util.find_spec("mbrl") else ["test_*.py"]
