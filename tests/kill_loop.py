"""Kill silen-train with SIGKILL at random moments until it gets through.

    python kill_loop.py KILLS OUT [arguments of silen-train]

Each attempt is a fork of a process that has imported everything and computed nothing (a fork of running OpenMP
threads would hang), so it costs its training time and not the imports. Prints one line of JSON."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from silen_lib.plot import use_style
from silen_lib.train import main


def attempt(arguments, kill_after=None):
    "Exit status of one run, or None when it was killed."
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with open(os.devnull, "w", encoding="utf-8") as null:
            os.dup2(null.fileno(), 1)
            os.dup2(null.fileno(), 2)
        os._exit(main(arguments))
    deadline = time.monotonic() + (kill_after if kill_after is not None else 1e9)
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.002)


def last_step(out):
    "The step of the newest checkpoint, from its name; 0 without one."
    return max(
        (int(p.stem.split("-")[1]) for p in (out / "checkpoints").glob("step-*.pt")), default=0
    )


def loop(kills, out, arguments, longest):
    killed, steps, went_back = 0, [], 0

    def how():  # before the first checkpoint there is nothing to resume
        return "--resume" if last_step(out) else "--overwrite"

    while killed < kills:
        status = attempt([*arguments, "--out", str(out), how()], random.uniform(0, longest))
        if status is None:
            killed += 1
            steps.append(last_step(out))
            went_back += len(steps) > 1 and steps[-1] < steps[-2]
        else:
            assert status == 0, status
            break
    status = attempt([*arguments, "--out", str(out), how()])
    return dict(kills=killed, status=status, went_back=went_back, steps=steps)


if __name__ == "__main__":
    use_style()  # matplotlib's fonts, before the forks
    kills, out = int(sys.argv[1]), Path(sys.argv[2])
    longest = float(os.environ.get("LONGEST", 1.5))
    print(json.dumps(loop(kills, out, sys.argv[3:], longest)))
