"""One thread for each test process: pytest-xdist has one for every core already."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
