"""The program of a worker that is a process: calls of a `Player` come by stdin, and messages go by stdout.

Messages: ("step", the step, episodes under way), ("done", result), ("fault", …), ("error", text), ("tell", text).
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from typing import Any

EVERY_S = 0.2  # between two messages of steps


def main() -> None:
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what an environment prints goes to stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run
    calls = sys.stdin.buffer

    def send(*message: Any) -> None:
        pickle.dump(message, messages, protocol=pickle.HIGHEST_PROTOCOL)
        messages.flush()

    try:
        sys.path[:] = pickle.load(calls)
        serve(calls, send)
    except (EOFError, BrokenPipeError):  # the run is gone
        os._exit(0)


def serve(calls: Any, send: Any) -> None:
    import torch

    from elites.runs.faults import Fault, in_a_line
    from elites.runs.mujoco_log import mujoco_log
    from elites.runs.workers.player import Player

    torch.set_num_threads(1)
    last = 0.0

    def watch(step: int, under_way: int) -> None:
        nonlocal last
        if (now := time.monotonic()) - last > EVERY_S:
            last = now
            send("step", step, under_way)

    with mujoco_log(lambda text: send("tell", f"MuJoCo: {text}")):
        player = Player(pickle.load(calls))
        while True:
            made = pickle.load(calls)
            try:
                send("done", player.run(made, watch))
            except Fault as fault:
                send("fault", fault.number, fault.expected, fault.got)
            except ValueError as error:
                send("error", str(error))
            except MemoryError as error:
                send("error", f"a worker is out of memory: {in_a_line(error)}; fewer workers need less: workers=1")


if __name__ == "__main__":
    main()
