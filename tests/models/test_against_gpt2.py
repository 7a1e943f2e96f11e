"""With learned positions and GPT-2's first weights the decoder is GPT-2."""

import pytest
import torch

from models.subjects import decoder, draw, refuses
from scannable import Decoder, DecoderConfig
from scannable.testing._subject import relative

GPT2 = {"initialisation": "gpt2", "positions": "absolute"}


def copy_gpt2(theirs, ours):
    """Copy the weights of transformers' model; its linear maps are stored the other way round."""
    names = {"attention_norm": "ln_1", "attention.qkv": "attn.c_attn", "attention.out": "attn.c_proj"}
    names |= {"mlp_norm": "ln_2", "mlp.0": "mlp.c_fc", "mlp.2": "mlp.c_proj"}
    source = theirs.transformer.state_dict()
    found = {"embed.tokens.weight": source.pop("wte.weight"), "stack.slots.weight": source.pop("wpe.weight")}
    for part in ("weight", "bias"):
        found[f"stack.norm.{part}"] = source.pop(f"ln_f.{part}")
        for i in range(len(ours.stack.blocks)):
            for name, other in names.items():
                weight = source.pop(f"h.{i}.{other}.{part}")
                found[f"stack.blocks.{i}.{name}.{part}"] = weight.T if weight.dim() > 1 else weight
    assert not source
    found["head.codes.weight"] = found["embed.tokens.weight"]
    ours.load_state_dict(found)


@torch.no_grad()
def test_it_says_what_gpt_2_of_transformers_says():
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install --group peers")
    shape = {"vocab_size": 11, "n_positions": 20, "n_embd": 16, "n_layer": 3, "n_head": 2}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape)).double().eval()
    for weight in theirs.parameters():
        weight.add_(torch.randn_like(weight), alpha=0.2)
    ours = decoder(layers=3, limit=20, **GPT2)
    copy_gpt2(theirs, ours)
    tokens = draw(2, 20)
    assert relative(ours(tokens), theirs(tokens).logits) <= 1e-12


def test_it_begins_with_gpt_2s_weights():
    model = Decoder(DecoderConfig(width=128, heads=4, layers=8, tied=False, **GPT2), 500)
    for name, weight in model.named_parameters():
        if weight.dim() == 1:
            assert torch.equal(weight, torch.full_like(weight, float(name.endswith("norm.weight")))), name
            continue
        adds = name.endswith(("attention.out.weight", "mlp.2.weight"))
        assert float(weight.detach().std()) == pytest.approx(0.02 / 4 if adds else 0.02, rel=0.05), name
        assert abs(float(weight.detach().mean())) < 1e-3, name


def test_the_smallest_gpt_2_has_124_million_weights():
    with torch.device("meta"):
        model = Decoder(DecoderConfig(width=768, heads=12, layers=12, limit=1024, **GPT2), 50_257)
    assert sum(weight.numel() for weight in model.parameters()) == 124_439_808


def test_another_initialisation_is_refused():
    with refuses(ValueError, "initialisation must be one of", "gpt2", "got 'bert'"):
        DecoderConfig(initialisation="bert")
