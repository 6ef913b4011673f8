"""One thread for each test process: pytest-xdist has one for every core already.

Also enables Ctrl-C as in a terminal: a shell starts background processes with SIGINT ignored. Processes that tests
start and interrupt would inherit this.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
