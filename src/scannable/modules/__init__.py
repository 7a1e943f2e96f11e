"""The learned parts of a model: encoders, aggregators, inference modules; they know nothing of scans."""

from scannable.modules._aggregator import MLP, GatedSum, MatrixProduct, TransformerAggregator, TreeLSTM
from scannable.modules._codebook import Codebook
from scannable.modules._codes import Codes
from scannable.modules._cross_entropy import linear_cross_entropy, token_losses
from scannable.modules._encoder import TokenEncoder, VectorEncoder
from scannable.modules._inference import CrossInference, Inference, TransformerInference
from scannable.modules._transformer import Block, Positions, Transformer, initialise, initialise_gpt2

__all__ = [
    "MLP",
    "Block",
    "Codebook",
    "Codes",
    "CrossInference",
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
    "initialise_gpt2",
    "linear_cross_entropy",
    "token_losses",
]
