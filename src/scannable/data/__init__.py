"""Text as ids: tokenizers, files of text or ids, and the articles in them."""

from scannable.data._read import Splits, read, read_text
from scannable.data._texts import Text
from scannable.data._tokenizer import TOKENIZERS, StreamDecoder, Tokenizer, tokenizer

__all__ = ["TOKENIZERS", "Splits", "StreamDecoder", "Text", "Tokenizer", "read", "read_text", "tokenizer"]
