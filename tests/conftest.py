"""One thread for each test process: pytest-xdist has one for every core already.

And Ctrl-C as in a terminal: a shell starts what it puts into the background with SIGINT ignored, and so would be the
processes that tests start and interrupt.
"""

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
