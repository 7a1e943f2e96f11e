"""What a bench of decoding measures: sizes of models, texts and streams."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class BenchDecodeConfig:
    """What is measured by ``bench_decode``; models have fresh weights, which cost what trained ones do."""

    seed: int = 0
    """Of weights and tokens."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """A CUDA device if there is one, unless told."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of weights and states."""
    width: int = 768
    """Model width."""
    heads: int = 12
    """Attention heads."""
    layers: int = 12
    """Blocks of the decoders, and of the PSM's inference module; its aggregator has one."""
    chunk: int = 256
    """Tokens in a chunk."""
    vocabulary: int = 50_257
    """How many tokens there are."""
    mamba2_layers: int = 24
    """Layers without MLP."""
    deltanet_layers: int = 10
    """Layers of Gated DeltaNet, each with an MLP."""
    contexts: tuple[int, ...] = (1024, 8192, 40_960)
    """Tokens that were read before those that are timed."""
    batches: tuple[int, ...] = (1, 32)
    """Texts side by side."""
    steps: int = 1000
    """Timed tokens of each row."""
    stream: int = 40_000
    """Timed tokens of one long stream, after its first chunk."""
    copied: int = 1 << 32
    """Bytes that are copied to measure bandwidth."""
    compile: bool = True
    """Fuse steps with torch.compile."""

    def __post_init__(self) -> None:
        sizes = (*self.contexts, *self.batches, self.steps, self.stream, self.copied)
        if not (self.contexts and self.batches) or min(sizes) < 1:
            raise ValueError(
                f"contexts, batches, steps, stream and copied must be at least 1, got {self.contexts}, "
                f"{self.batches}, {self.steps}, {self.stream} and {self.copied}."
            )
