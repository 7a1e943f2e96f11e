"""The Transformer-PSM: what each switch changes, and that with one chunk it is GPT-2."""

import pytest
import torch

from models.subjects import VOCABULARY, decoder, draw, psm, refuses, stream_by
from scannable import TransformerPSM, TransformerPSMConfig
from scannable.modules import Codebook
from scannable.testing._subject import relative


def copy_to_decoder(model, decoder, chunk):
    with torch.no_grad():
        decoder.embed.tokens.weight.copy_(model.encoder.tokens.weight)
        decoder.head.codes.weight.copy_(model.head.codes.weight)
        weights = dict(model.inference.stack.state_dict())
        if "slots.weight" in weights:
            # The chunk's slots come after those of a prefix.
            weights["slots.weight"] = weights["slots.weight"][chunk : 2 * chunk]
        decoder.stack.load_state_dict(weights)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("positions", "within"), [("slot", "absolute"), ("rotary", "rotary")])
def test_one_chunk_is_a_gpt_2_style_decoder(positions, within, tied):
    model = psm(positions=positions, chunk=16, tied=tied)
    baseline = decoder(positions=within, limit=16, tied=tied)
    copy_to_decoder(model, baseline, 16)
    with torch.no_grad():
        for length in (1, 7, 16):
            tokens = draw(2, length)
            assert relative(model(tokens), baseline(tokens)) < 1e-12
        steps = [stream_by(m, draw(2, 16), [0] * 16)[0] for m in (model, baseline)]
    assert relative(*steps) < 1e-12


def test_one_chunk_with_places_added_to_tokens_is_a_decoder_too():
    """Without positions in the stack: the decoder's absolute vectors are the encoder's."""
    for positions in ("chunk", "global"):
        model, baseline = psm(positions=positions, chunk=16), decoder(limit=16)
        with torch.no_grad():
            baseline.embed.tokens.weight.copy_(model.encoder.tokens.weight)
            weights = model.inference.stack.state_dict() | {"slots.weight": model.encoder.places.weight[:16]}
            baseline.stack.load_state_dict(weights)
            assert relative(model(draw(2, 16)), baseline(draw(2, 16))) < 1e-12


def test_the_aggregators_mask_matters_only_for_chunks_of_more_than_a_token():
    """The authors' code masks what the paper calls bidirectional; on S5, one token and one layer, this is no matter."""
    for chunk, same in ((1, True), (2, False)):
        with torch.no_grad():
            paper, code = (
                psm(chunk=chunk, aggregator_mask=mask)(draw(2, 11)) for mask in ("bidirectional", "causal")
            )
        assert (relative(code, paper) < 1e-12) == same


def test_local_positions_know_no_place_in_the_text():
    """Whole trees moved: two equal halves merge to equal roots, unless positions are global."""
    tokens = draw(1, 8).repeat(1, 2)
    for positions, same in (("slot", True), ("rotary", True), ("chunk", True), ("global", False)):
        model = psm(positions=positions)
        with torch.no_grad():
            half = stream_by(model, tokens[:, :8], [8])[1].counter
            other = stream_by(model, tokens[:, :12], [12])[1].counter
            leaf = stream_by(model, tokens[:, :4], [4])[1].counter
        assert half.count == 2
        assert torch.allclose(other.roots[0], leaf.roots[0], atol=1e-12) == same


def test_without_its_norm_an_aggregator_that_adds_nothing_keeps_the_right_state():
    for norm in (True, False):
        model = psm(aggregator_norm=norm)
        with torch.no_grad():
            for name, weight in model.aggregator.named_parameters():
                if name.endswith(("out.weight", "out.bias", "mlp.2.weight", "mlp.2.bias")):
                    weight.zero_()
            left, right = model.encoder(draw(2, 8)).unflatten(1, (2, 4)).unbind(1)
            slots = model.aggregator.stack.slots.weight[4:]
            assert torch.equal(model.aggregator.combine(left, right), right + slots) == (not norm)


def test_without_its_norm_a_new_aggregator_keeps_the_right_state():
    for norm in (True, False):
        model = TransformerPSM(TransformerPSMConfig(positions="rotary", aggregator_norm=norm), VOCABULARY)
        left, right = model.encoder(draw(2, 32)).unflatten(1, (2, 16)).unbind(1)
        assert torch.equal(model.aggregator.combine(left, right), right) == (not norm)
        model(draw(1, 64)).square().sum().backward()
        assert model.aggregator.stack.blocks[0].attention.out.weight.grad.any()


def test_the_empty_prefix_is_learned_or_absent():
    flag, learned = psm(identity="flag"), psm(identity="learned")
    assert not flag.start(2).counter.prefix.any()
    assert torch.equal(learned.start(2).counter.prefix[1], learned.aggregator.empty)
    for model in (flag, learned):
        model(draw(2, 3)).square().sum().backward()
    assert flag.aggregator.empty is None
    assert learned.aggregator.empty.grad.abs().sum() > 0


def test_shared_blocks_are_one_stack():
    model = psm(shared=True)
    assert model.aggregator.stack is model.inference.stack
    assert psm().aggregator.stack is not psm().inference.stack
    count = [sum(p.numel() for p in psm(shared=s, inference_layers=1).parameters()) for s in (True, False)]
    assert count[0] < count[1]


def test_ties():
    model = psm()
    assert model.head.codes is model.encoder.tokens
    untied = psm(tied=False, codebook="own")
    assert untied.head.codes is not untied.encoder.tokens
    assert isinstance(untied.aggregator, Codebook)
    assert untied.aggregator.codes.weight.shape == (50, 16)
    assert model.encoder is model.inference.embed


def test_global_positions_reach_through_a_chunk():
    with refuses(ValueError, "must reach through a chunk, got limit=3 and chunk=4"):
        psm(positions="global", limit=3)


def test_local_positions_have_no_limit_and_global_ones_end():
    assert psm(limit=8)(draw(1, 40)).isfinite().all()
    model = psm(positions="global", limit=10)
    with refuses(ValueError, "end at 10", "train with a larger `limit`"):
        model(draw(1, 11))
    _, stream = model.prefill(model.start(), draw(1, 10))
    with refuses(ValueError, "end at 10", "tokens at 10"):
        model.step(stream, draw(1, 1)[:, 0])
    with refuses(ValueError, "end at 10"):
        model.prefill(model.start(), draw(1, 16))


@pytest.mark.parametrize(
    ("switches", "words"),
    [
        ({"chunk": 0}, ["chunk must be at least 1", "got 0"]),
        ({"chunk": -2}, ["chunk must be at least 1", "got -2"]),
        ({"codes": 0}, ["codes must be at least 1"]),
        ({"positions": "absolute"}, ["positions must be one of", "slot", "got 'absolute'"]),
        ({"codebook": "theirs"}, ["codebook must be one of", "tied"]),
        ({"aggregator_mask": "full"}, ["aggregator_mask must be one of", "bidirectional"]),
        ({"identity": "zero"}, ["identity must be one of", "flag"]),
        ({"dropout": 1.0}, ["dropout", "less than 1", "got 1.0"]),
        (
            {"shared": True, "inference_layers": 1, "aggregator_norm": False},
            ["Shared blocks end with the norm", "got aggregator_norm=False", "set shared=False"],
        ),
        ({"shared": True}, ["as many aggregator as inference layers", "1 and 2", "shared=False"]),
    ],
    ids=str,
)
def test_a_config_refuses_nonsense_at_birth(switches, words):
    with refuses(ValueError, *words):
        TransformerPSMConfig(**switches)


def test_a_width_that_heads_do_not_divide_is_refused():
    with refuses(ValueError, "multiple of 4", "width=10 and heads=4", "change one"):
        TransformerPSM(TransformerPSMConfig(width=10), 11)
    with refuses(ValueError, "multiple of 8", "rotary", "width=12"):
        TransformerPSM(TransformerPSMConfig(width=12, positions="rotary"), 11)
    with refuses(ValueError, "temperature must be finite and above zero"):
        TransformerPSM(TransformerPSMConfig(codebook="own", temperature=0.0), 11)


def test_the_gradient_of_every_weight_is_that_of_finite_differences():
    model = psm(width=4, heads=1, chunk=2, inference_layers=1)
    model.recompute = True
    tokens = draw(1, 7)
    names = [n for n, _ in model.named_parameters()]
    weights = [p.detach().clone().requires_grad_() for p in model.parameters()]

    def logits(*weights):
        return torch.func.functional_call(
            model, dict(zip(names, weights, strict=True)), (tokens,), tie_weights=False
        )

    assert torch.autograd.gradcheck(logits, weights, fast_mode=True)
    assert [n for n, _ in model.named_parameters()] == names


@pytest.mark.compile
@pytest.mark.slow
def test_torch_compile_sees_one_graph_at_one_length_and_at_any():
    model = psm(positions="global", identity="learned", codebook="own", inference_layers=1)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        for length in (9, 11):  # the second time with sizes as symbols
            assert relative(compiled(draw(2, length)), model(draw(2, length))) < 1e-12


@pytest.mark.compile
@pytest.mark.parametrize("positions", ["rotary", "none"])
def test_one_graph_serves_all_lengths_of_a_decoder(positions):
    graphs = []
    model = decoder(positions=positions)
    torch.compiler.reset()
    compiled = torch.compile(
        model, fullgraph=True, backend=lambda graph, _: graphs.append(1) or graph.forward
    )
    with torch.no_grad():
        for length in range(5, 20):
            assert relative(compiled(tokens := draw(2, length)), model(tokens)) < 1e-12
    assert len(graphs) <= 2


@pytest.mark.compile
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of torch.jit
def test_compiled_code_computes_the_same():
    torch.compiler.reset()
    model, tokens = psm(inference_layers=1), draw(2, 9)
    with torch.no_grad():
        assert relative(torch.compile(model, fullgraph=True)(tokens), model(tokens)) < 1e-12


@pytest.mark.parametrize("wrong", [{"width": 16.0}, {"width": "16"}, {"chunk": True}, {"tied": "no"}])
def test_numbers_and_switches_of_another_type_are_refused(wrong):
    with refuses(TypeError, f"{next(iter(wrong))} must be of type", repr(next(iter(wrong.values())))):
        TransformerPSMConfig(**wrong)


def test_numbers_that_make_no_sense_are_refused():
    for value in (0.0, float("inf"), float("nan")):
        with refuses(ValueError, f"logit_scale must be finite and above zero, got {value}"):
            TransformerPSMConfig(logit_scale=value)
    with refuses(ValueError, "at least one code, got 0"):
        TransformerPSM(TransformerPSMConfig(), 0)
    with refuses(ValueError, "A tied codebook holds token vectors as they are, got scaled=True"):
        TransformerPSMConfig(codebook="tied", scaled=True)
