"""Mamba and Mamba-2 with the weights of transformers' models compute what those compute."""

import contextlib
import re

import pytest
import torch
import torch.nn.functional as F

import scannable as sc

transformers = pytest.importorskip("transformers", reason="needs transformers: pip install --group peers")

VOCABULARY, WIDTH, LAYERS = 11, 24, 2

CASES = {
    "mamba, tied": ("mamba", {"state": 5, "rank": 3}, True),
    "mamba, with all biases": ("mamba", {"state": 4, "bias": True}, False),
    "mamba without bias": ("mamba", {"state": 4, "taps": 3, "conv_bias": False}, True),
    "mamba2, tied": ("mamba2", {"state": 5, "heads": 4, "groups": 1}, True),
    "mamba2 in groups, with all biases": (
        "mamba2",
        {"state": 4, "heads": 6, "groups": 2, "bias": True},
        False,
    ),
    "mamba2 in groups, with limits": (
        "mamba2",
        {"state": 4, "heads": 4, "groups": 4, "conv_bias": False, "shortest": 0.2, "longest": 0.9},
        False,
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def pair(request):
    """A model of theirs with random weights, and ours with the same."""
    return make_pair(*request.param)


def make_pair(row, options, tied):
    config = {
        "vocab_size": VOCABULARY,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "state_size": options["state"],
        "conv_kernel": options.get("taps", 4),
        "use_bias": options.get("bias", False),
        "use_conv_bias": options.get("conv_bias", True),
        "tie_word_embeddings": tied,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    if row == "mamba":
        config = transformers.MambaConfig(**config, time_step_rank=options.get("rank", "auto"))
        theirs = transformers.MambaForCausalLM(config)
    else:
        heads, limits = options["heads"], (options.get("shortest", 0.0), options.get("longest", float("inf")))
        config = transformers.Mamba2Config(
            **config,
            num_heads=heads,
            head_dim=2 * WIDTH // heads,
            n_groups=options["groups"],
            time_step_limit=limits,
            chunk_size=16,
        )
        theirs = transformers.Mamba2ForCausalLM(config)
        if options["groups"] > 1 and not hasattr(theirs.backbone.layers[0].mixer.norm, "group_size"):
            pytest.skip(
                "this older version of transformers takes the norm over all groups at once: pip install --group peers"
            )
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    config = sc.AffineLanguageModelConfig(
        row=row, width=WIDTH, layers=LAYERS, options=options, mlp=False, tied=tied
    )
    ours = sc.AffineLanguageModel(config, VOCABULARY)
    ours.load_state_dict(renamed(theirs.state_dict(), row))
    return theirs.eval(), ours


def renamed(named, row):
    """Give parameters, or their gradients, the names that they have in our model."""
    names = [
        (r"^backbone\.embeddings", "embed.tokens"),
        (r"^backbone\.norm_f", "norm"),
        (r"^lm_head", "head.codes"),
        (r"^backbone\.layers\.(\d+)\.norm", r"blocks.\1.layer_norm"),
        (r"^backbone\.layers\.(\d+)\.mixer", r"blocks.\1.layer"),
    ]
    if row == "mamba":
        names += [
            (r"dt_proj\.bias", "dt_bias"),
            (r"layer\.(x_proj|dt_proj|dt_bias|A_log|D)", r"layer.ssm.\1"),
        ]
    found = {}
    for name, value in named.items():
        for pattern, replacement in names:
            name = re.sub(pattern, replacement, name)
        found[name] = value
    return found


def tokens(length):
    return torch.randint(VOCABULARY, (2, length))


@contextlib.contextmanager
def named_float32_is_float64():
    """Let transformers compute in float64, although its code casts to float32 by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "float32", torch.float64)
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        yield


@pytest.mark.parametrize("length", [1, 7, 64, 100])
def test_logits_are_those_of_transformers(pair, length):
    theirs, ours = pair
    text = tokens(length)
    with torch.no_grad():
        torch.testing.assert_close(ours(text), theirs(text, use_cache=False).logits, rtol=1e-4, atol=1e-4)


def test_in_float64_logits_and_gradients_differ_from_those_of_transformers_by_rounding_only(pair):
    theirs, ours = (model.double() for model in pair)
    text = tokens(70)
    with named_float32_is_float64():
        expected = theirs(text, use_cache=False).logits
        F.cross_entropy(expected[:, :-1].flatten(0, 1), text[:, 1:].flatten()).backward()
    got = ours(text)
    F.cross_entropy(got[:, :-1].flatten(0, 1), text[:, 1:].flatten()).backward()
    assert expected.dtype == torch.float64
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    torch.testing.assert_close(
        {name: parameter.grad for name, parameter in ours.named_parameters()},
        renamed(gradients, ours.config.row),
        rtol=1e-8,
        atol=1e-11,
    )


@pytest.mark.parametrize("case", [name for name in CASES if "limits" not in name])
def test_steps_are_those_of_transformers_with_its_cache(case):
    theirs, ours = make_pair(*CASES[case])
    text = tokens(12)
    with torch.no_grad():
        expected = theirs(text[:, :5], use_cache=True)
        got, stream = ours.prefill(ours.start(2), text[:, :5])
        for t in range(5, 12):
            torch.testing.assert_close(got, expected.logits[:, -1], rtol=1e-4, atol=1e-4)
            expected = theirs(text[:, t : t + 1], cache_params=expected.cache_params, use_cache=True)
            got, stream = ours.step(stream, text[:, t])
        torch.testing.assert_close(got, expected.logits[:, -1], rtol=1e-4, atol=1e-4)
