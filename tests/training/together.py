"""Trains one run after another: what torchrun starts in several processes for the tests.

Its argument is a file of JSON: a list of objects with a ``config``, a ``folder``, and perhaps the step after which
Ctrl-C is pressed (``stop``) or before which the second process breaks (``breaks``). Every process prints what came
of each, one JSON object a line.
"""

import json
import os
import sys
from pathlib import Path

import torch

from scannable.training import train
from scannable.training._folder import parse_config
from scannable.training._run import Run

RANK = int(os.environ["RANK"])


def main(file):
    torch.set_num_threads(1)
    for job in json.loads(Path(file).read_text()):
        events = []

        def report(event, job=job, events=events):
            events.append(event.step)
            if event.step == job.get("stop"):
                raise KeyboardInterrupt

        if "breaks" in job and RANK == 1:
            break_before(job["breaks"])
        said = {"rank": RANK}
        try:
            result = train(parse_config(job["config"]), job["folder"], report=report)
            said |= {"stopped": result.stopped, "step": result.step}
        except (ValueError, OSError, KeyboardInterrupt) as error:
            said |= {"error": type(error).__name__, "message": str(error)}
            said["agreed"] = getattr(error, "agreed", False)
        # In one piece, so that lines of several processes do not mix.
        sys.stdout.write(json.dumps(said | {"events": events}) + "\n")
        sys.stdout.flush()


def break_before(step):
    update = Run._update

    def broken(run):
        if run.step == step:
            raise RuntimeError("broken on purpose")
        update(run)

    Run._update = broken


if __name__ == "__main__":
    main(sys.argv[1])
