"""A tiny row of the table of language models, in as many processes as torchrun starts; each prints what it got.

Its arguments are a folder of tokens, a folder for the run, and a learning rate, or none.
"""

import json
import os
import sys

import torch

from scannable.experiments import LANGUAGE_ROWS, LanguageConfig, LanguageRow, language
from scannable.models import DecoderConfig


def main(data, folder, *rate):
    torch.set_num_threads(1)
    model = DecoderConfig(width=16, heads=2, layers=1, positions="rotary")
    LANGUAGE_ROWS["decoder"] = LanguageRow(model=model, length=16)
    config = LanguageConfig(
        row="decoder",
        data=data,
        rate=float(rate[0]) if rate else None,
        trial_tokens=64,
        tokens=256,
        step_tokens=64,
        stream=10,
        device="cpu",
        compile=False,
    )
    try:
        found = language(config, folder)
    except ValueError as error:
        found = str(error)
    # In one piece, so that lines of several processes do not mix.
    sys.stdout.write(json.dumps({"rank": int(os.environ.get("RANK", "0")), "found": found}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
