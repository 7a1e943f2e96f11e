"""A trace tells the tree that the model's own scan made, and of each state what can be computed again by hand."""

import copy
import json

import pytest
import torch
import torch.nn.functional as F

from agreement import refused
from scannable import PrefixScannable, TransformerPSM, TransformerPSMConfig
from scannable.data import tokenizer
from scannable.models import Decoder, DecoderConfig, PrefixScannableMixer
from scannable.modules import GatedSum, TreeLSTM, _transformer
from scannable.modules._inference import Inference
from scannable.scans import merges, reference
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.training import pretrained
from scannable.viewer import _json
from scannable.viewer.inside._file import LEAVES, check_trace, read_trace
from scannable.viewer.inside._trace import trace
from viewer.traces import breaks, words

VOCABULARY = 11


def psm(**fields):
    defaults = {"width": 16, "heads": 2, "chunk": 3, "inference_layers": 1}
    return TransformerPSM(TransformerPSMConfig(**{**defaults, **fields}), VOCABULARY).eval()


def draw(length):
    return torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(1))


def leaves_of(model, tokens):
    """The states of all chunks but the one with the last token, ``(1, N, ...)``."""
    count = (len(tokens) - 1) // model.chunk
    return model._encode(tokens[None, : count * model.chunk], 0)


class Embed(torch.nn.Module):
    """A chunk is the sum of its tokens' vectors, alone or in a pair with its sine."""

    def __init__(self, *, pair):
        super().__init__()
        self.table, self.pair = torch.nn.Parameter(torch.randn(VOCABULARY, 4)), pair

    def forward(self, tokens):
        state = self.table[tokens].sum(1)
        return (state, state.sin()) if self.pair else state


class Read(Inference):
    """Each token's vector plus the prefix, as logits."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Parameter(torch.randn(VOCABULARY, 4))

    def forward(self, prefix, tokens):
        vector = prefix[0] if isinstance(prefix, tuple) else prefix
        return (self.table[tokens] + vector[:, None]) @ self.table.T


MODELS = {
    "slots": psm(),
    "rotary, learned identity, two layers": psm(positions="rotary", identity="learned", aggregator_layers=2),
    "places in the text": psm(positions="global", limit=64, width=32),
    "shared blocks, tied codebook": psm(shared=True, codebook="tied", norm=1.0),
    "cross": psm(inference="cross"),
    "gated sum": PrefixScannable(Embed(pair=False), GatedSum(4), Read(), chunk=2).eval(),
    "tree-LSTM, pairs": PrefixScannable(Embed(pair=True), TreeLSTM(4), Read(), chunk=2).eval(),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_following_the_nodes_gives_the_states_of_the_definition(model):
    tokens = draw(37)
    found = check_trace(json.loads(json.dumps(trace(model, tokens), allow_nan=False)))
    leaves = torch.utils._pytree.tree_map(torch.Tensor.detach, leaves_of(model, tokens))
    count = found["leaves"]
    assert len(found["nodes"]) == count + merges(count)
    singles = [torch.utils._pytree.tree_map(lambda x, t=t: x[:, t], leaves) for t in range(count)]
    states = list(singles)
    with torch.no_grad():
        for node in found["nodes"][count:]:
            states.append(model.aggregator.combine(states[node["left"]], states[node["right"]]))
        for chunk in range(1, count + 1):
            expected = reference.prefix_state(model.aggregator, leaves, chunk)
            torch.testing.assert_close(states[found["chunks"][chunk]["prefix"]], expected)
    for state, node in zip(states, found["nodes"], strict=True):
        row = torch.cat([x.flatten() for x in torch.utils._pytree.tree_leaves(state)])
        assert node["size"] == pytest.approx(float(row.square().mean().sqrt()), rel=1e-3)
        for side in ("left", "right") if node["left"] is not None else ():
            child = torch.cat([x.flatten() for x in torch.utils._pytree.tree_leaves(states[node[side]])])
            distance = (row - child).norm() / max(row.norm(), child.norm())
            assert node[f"from_{side}"] == pytest.approx(float(distance), rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_losses_and_answers_are_those_of_the_model(model):
    tokens, targets = draw(23), draw(23)
    targets[4] = -1
    with torch.no_grad():
        logits = model(tokens[None])[0]
    found = trace(model, tokens, targets)
    expected = F.cross_entropy(logits, targets, ignore_index=-1, reduction="none")
    for place, token in enumerate(found["tokens"]):
        assert token["predicted"] == int(logits[place].argmax())
        if place == 4:
            assert (token["target"], token["loss"], token["correct"]) == (None, None, None)
        else:
            assert token["loss"] == pytest.approx(float(expected[place]), rel=1e-3, abs=1e-5)
            assert token["correct"] == (token["predicted"] == int(targets[place]))
    for chunk, entry in enumerate(found["chunks"]):
        shares = logits[min(len(tokens), (chunk + 1) * model.chunk) - 1].softmax(-1)
        assert [guess["id"] for guess in entry["next"]] == shares.topk(5).indices.tolist()
        assert entry["next"][0]["p"] == pytest.approx(float(shares.max()), rel=1e-3)


@pytest.mark.parametrize("mask", ["bidirectional", "causal"])
@pytest.mark.parametrize("positions", ["slot", "rotary"])
def test_attention_is_the_softmax_that_the_merge_computed(monkeypatch, mask, positions):
    model = psm(positions=positions, aggregator_layers=2, aggregator_mask=mask)
    # Sharp attention, so that a wrong mask or a rotation left out shows.
    for block in model.aggregator.stack.blocks:
        block.attention.qkv.weight.data *= 3
    seen, attend = [], _transformer.attend

    def plain(q, k, v, *, causal, **rest):
        scores = torch.einsum("rqhk,rshk->rhqs", q, k) / q.shape[-1] ** 0.5
        if causal:
            scores += torch.full(scores.shape[-2:], -torch.inf).triu(1 + k.shape[1] - q.shape[1])
        shares = scores.softmax(-1)[:, :, -3:].mean((1, 2))
        seen.append(shares.unflatten(-1, (2, 3)).sum(-1))
        return attend(q, k, v, causal=causal, **rest)

    tokens = draw(4 * 3 + 1)
    found = trace(model, tokens)
    leaves = leaves_of(model, tokens)[0]
    monkeypatch.setattr(_transformer, "attend", plain)
    with torch.no_grad():
        model.aggregator.combine(leaves[0::2], leaves[1::2])
    first, last = seen
    for row, node in enumerate(found["nodes"][4:6]):
        got = [[layer["left"], layer["right"]] for layer in node["layers"]]
        torch.testing.assert_close(torch.tensor(got), torch.stack([first[row], last[row]]), atol=1e-4, rtol=0)
        mean = [node["attention"]["left"], node["attention"]["right"]]
        torch.testing.assert_close(torch.tensor(mean), (first[row] + last[row]) / 2, atol=1e-4, rtol=0)
        assert sum(mean) == pytest.approx(1, abs=2e-4)


def test_other_aggregators_have_no_attention():
    assert all(node["attention"] is None for node in trace(MODELS["gated sum"], draw(9))["nodes"])


def test_the_packaged_model_decodes_every_node_to_the_product_of_its_leaves():
    found = words(40)
    group = WordProblem(pretrained("s5")[1].task).group
    product = group.table
    for node in found["nodes"]:
        if node["left"] is None:
            assert node["product"] == found["tokens"][node["first"]]["id"]
        else:
            left, right = (found["nodes"][node[side]]["product"] for side in ("left", "right"))
            assert node["product"] == int(product[left, right])
            assert node["code"] == node["element"]
        assert node["element"] == node["product"]
        assert node["correct"]
    assert all(token["correct"] for token in found["tokens"])
    names = {entry["id"]: entry["text"] for entry in found["names"]}
    token = found["tokens"][0]["id"]
    assert names[token] == group.names[token]


@pytest.mark.parametrize("name", ["slots", "places in the text", "shared blocks, tied codebook"])
def test_the_element_of_a_prefix_is_what_the_model_answers_to_the_identity_after_it(name):
    model, tokens = MODELS[name], draw(30)
    found = trace(model, tokens, reads=WordProblem(WordProblemConfig(group=f"C{VOCABULARY}")))
    for chunk in range(1, found["leaves"] + 1):
        read = torch.cat([tokens[: chunk * model.chunk], torch.zeros(1, dtype=torch.long)])
        with torch.no_grad():
            answer = int(model(read[None])[0, -1].argmax())
        node = found["nodes"][found["chunks"][chunk]["prefix"]]
        assert node["element"] == answer
        assert node["product"] == int(tokens[: chunk * model.chunk].sum()) % VOCABULARY


def test_a_model_that_merges_wrongly_is_seen_to():
    model, _ = pretrained("s5")
    combine = model.aggregator.combine
    model.aggregator.combine = lambda left, right: combine(right, left)
    found = words(9, model)
    assert all(node["correct"] for node in found["nodes"][:8])
    assert not all(node["correct"] for node in found["nodes"][8:])


def test_text_has_names_next_tokens_and_a_lens():
    reads = tokenizer("bytes")
    model = TransformerPSM(TransformerPSMConfig(width=16, heads=2, chunk=4), reads.vocabulary).eval()
    tokens = torch.tensor(list("schön & gut".encode()))
    found = trace(model, tokens, reads=reads, title="a title")
    assert (found["kind"], found["title"]) == ("text", "a title")
    assert [token["target"] for token in found["tokens"]] == [*tokens[1:].tolist(), None]
    names = {entry["id"]: entry["text"] for entry in found["names"]}
    assert [names[ord("s")], names["ö".encode()[0]]] == ["s", "\\xc3"]
    leaf = leaves_of(model, tokens)[:, 0]
    with torch.no_grad():
        shares = model.head(model.inference.stack.norm(leaf[:, -1]))[0].softmax(-1)
    assert [guess["id"] for guess in found["nodes"][0]["lens"]] == shares.topk(5).indices.tolist()
    assert found["nodes"][0]["lens"][0]["p"] == pytest.approx(float(shares.max()), rel=1e-3)


@pytest.mark.parametrize("length", [1, 3, 4])
def test_short_sequences_have_few_leaves(length):
    found = check_trace(trace(MODELS["slots"], draw(length)))
    assert len(found["nodes"]) == found["leaves"] == (length - 1) // 3
    assert len(found["chunks"]) == found["leaves"] + 1


def test_a_trace_leaves_the_model_as_it_was():
    model = psm(shared=True, aggregator_layers=1)
    before = copy.deepcopy(model.state_dict())
    found = trace(model, draw(20))
    assert list(before) == list(model.state_dict())
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
    assert trace(model, draw(20)) == found


def test_numbers_that_are_not_finite_are_null():
    model = psm()
    model.encoder.tokens.weight.data[0] = torch.nan
    found = trace(model, torch.zeros(7, dtype=torch.long))
    json.dumps(found, allow_nan=False)
    assert found["nodes"][0]["size"] is found["nodes"][2]["from_left"] is None
    check_trace(found)


def test_what_cannot_be_traced_is_refused():
    model = psm()
    with refused(TypeError, "got Decoder, which has none; give"):
        trace(Decoder(DecoderConfig(width=8, heads=2, layers=1), VOCABULARY).eval(), draw(5))
    with refused(ValueError, "reads vectors"):
        trace(PrefixScannableMixer(8, chunk=2).eval(), draw(5))
    with refused(ValueError, "evaluation mode"):
        trace(psm().train(), draw(5))
    with refused(TypeError, r"shape \(T,\)"):
        trace(model, draw(6)[None])
    for length in (0, 3 * (LEAVES + 1) + 1):
        with refused(ValueError, rf"1 to {3 * (LEAVES + 1):,} tokens.*got {length:,}; cut"):
            trace(model, torch.zeros(length, dtype=torch.long))


NUMBERS = ("size", "from_left", "from_right", "left", "right", "p", "loss")


def places(value, path=()):
    """Every place in a tree of objects and lists."""
    yield path
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield from places(inner, (*path, key))


def test_a_trace_comes_back_from_its_text():
    found = words(6)
    assert read_trace(json.dumps(found)) == found


@pytest.mark.parametrize("planted", [{"x": 1}, [[]], "text", -1, True, 1e300], ids=repr)
def test_a_wrong_value_anywhere_is_refused_in_words(planted):
    found = words(6)
    strings = [("kind",), ("title",), ("model", "name"), ("model", "aggregator")]
    for path in list(places(found))[1:]:
        inner = found
        for key in path[:-1]:
            inner = inner[key]
        kept, name = inner[path[-1]], path[-1]
        number = planted in (-1, 1e300) and name in NUMBERS
        same = type(kept) is type(planted) and planted != -1
        if path in strings or same or number or kept is None or "names" in path:
            continue
        inner[name] = planted
        with pytest.raises(ValueError, match=r"must .*, got .*; give a file that scannable wrote"):
            check_trace(found)
        inner[name] = kept


@pytest.mark.parametrize("planted", [{"x": 1}, [[]], "text", -1, True, None], ids=repr)
def test_what_is_no_object_of_our_format_is_refused(planted):
    with pytest.raises(ValueError, match=r"must have format 1, got .*; give a file that scannable wrote"):
        check_trace(planted)


@pytest.mark.parametrize("broken", [entry[1] for entry in breaks()], ids=[entry[0] for entry in breaks()])
def test_what_is_no_tree_over_its_tokens_is_refused(broken):
    found = words(6)
    broken(found)
    with pytest.raises(ValueError, match=r"must .*, got .*; give a file that scannable wrote"):
        read_trace(json.dumps(found))


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"format": NaN}', "\ud800", "null", "9" * 5000])
def test_what_is_no_trace_is_refused(text):
    with pytest.raises(ValueError, match=r"A trace must .*; give a file that scannable wrote"):
        read_trace(text)


def test_a_text_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(_json, "BYTES", 100)
    with pytest.raises(ValueError, match="may have 100 bytes"):
        read_trace("é" * 60)
