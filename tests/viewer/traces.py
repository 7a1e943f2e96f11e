"""A small trace, and ways to spoil it."""

import torch

from scannable.tasks import WordProblem
from scannable.training import pretrained
from scannable.viewer.inside._trace import trace


def words(length, model=None, title=""):
    """A trace of the packaged model on a word of S5."""
    loaded, config = pretrained("s5")
    task = WordProblem(config.task)
    tokens = task.batch(1, length, torch.Generator().manual_seed(2)).tokens[0]
    return trace(model or loaded, tokens, reads=task, title=title)


def breaks():
    yield "another format", lambda t: t.update(format=2)
    yield "a field more", lambda t: t.update(script="x")
    yield "a field less", lambda t: t.pop("chunks")
    yield "another kind", lambda t: t.update(kind="pictures")
    yield "a merge of what is not there", lambda t: t["nodes"][5].update(left=99)
    yield "a merge of itself", lambda t: t["nodes"][5].update(left=5)
    yield "a leaf with children", lambda t: t["nodes"][1].update(left=0, right=0)
    yield "a merge in the wrong order", lambda t: t["nodes"][5].update(left=1, right=0)
    yield "a wrong span", lambda t: t["nodes"][5].update(last=4)
    yield "a wrong level", lambda t: t["nodes"][5].update(level=7)
    yield "a prefix of other chunks", lambda t: t["chunks"][3].update(prefix=1)
    yield "a prefix left out", lambda t: t["chunks"][3].update(prefix=None)
    yield "a token too many", lambda t: t["tokens"].append(t["tokens"][0])
    yield "chunks of nothing", lambda t: t.update(chunk=0)
    yield "a node less", lambda t: t.update(leaves=7)
