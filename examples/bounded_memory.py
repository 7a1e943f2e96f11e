"""What a stream keeps of a long text: attention all of it, a PSM logarithmically much, an affine model one size.

Then one stream is saved in the middle of a chunk, read back, and goes on to the same bits.
"""

import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import scannable as sc
from scannable.data import read

text = torch.tensor(read(tokenizer="bytes").valid.ids[: 2**12].tolist())[
    None
]  # articles in the package, as bytes
models = {
    "decoder": sc.Decoder(sc.DecoderConfig(width=32, layers=1, positions="rotary"), vocabulary=256),
    "PSM": sc.TransformerPSM(sc.TransformerPSMConfig(width=32, inference_layers=1), vocabulary=256),
    "affine": sc.AffineLanguageModel(sc.AffineLanguageModelConfig(width=32, layers=1), vocabulary=256),
}

print("bytes that a stream keeps (untrained models of width 32, chunks of 16)")
print(f"{'tokens':>8}" + "".join(f"{name:>12}" for name in models))
with torch.no_grad():  # with gradients on, a stream would remember how to differentiate the whole text
    streams, read_so_far = {name: model.start() for name, model in models.items()}, 0
    for length in (
        2**k - 1 for k in range(6, 13, 2)
    ):  # one token more, and the PSM's 2**(k - 4) chunks are one tree
        for name, model in models.items():
            _, streams[name] = model.prefill(streams[name], text[:, read_so_far:length])
        read_so_far = length
        print(f"{length:8,}" + "".join(f"{stream.nbytes:12,}" for stream in streams.values()))

    model, stream = models["PSM"], streams["PSM"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stream.safetensors"
        save_file(stream.tensors(), file)
        size = file.stat().st_size
        resumed = model.restore(load_file(file))

    # Streams are values: reading on from one leaves it as it was, so any of them can be forked.
    more = torch.tensor([list(b"The end of the text is not the end of the stream.")])
    expected, _ = model.prefill(stream, more, logits="all")
    found, _ = model.prefill(resumed, more, logits="all")
print(f"resumed from a file of {size:,} bytes: the same logits, {torch.equal(found, expected)}")
