"""The learned parts of a model: encoders, aggregators, inference modules; they know nothing of scans."""

from scannable.modules._aggregator import MLP, GatedSum, MatrixProduct, TransformerAggregator, TreeLSTM
from scannable.modules._codebook import Codebook
from scannable.modules._codes import Codes
from scannable.modules._encoder import TokenEncoder, VectorEncoder
from scannable.modules._inference import Inference, TransformerInference
from scannable.modules._transformer import Block, Positions, Transformer, initialise

__all__ = [
    "MLP",
    "Block",
    "Codebook",
    "Codes",
    "GatedSum",
    "Inference",
    "MatrixProduct",
    "Positions",
    "TokenEncoder",
    "Transformer",
    "TransformerAggregator",
    "TransformerInference",
    "TreeLSTM",
    "VectorEncoder",
    "initialise",
]
