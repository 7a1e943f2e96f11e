"""A state that every layer sees and none works on: one function in both forms, at the cost of the chunk alone."""

import pytest
import torch

from models.subjects import POSITIONS, draw, psm, refuses, stream_by
from scannable import TransformerPSMConfig
from scannable.testing import assert_counts, check_duality
from scannable.testing._subject import relative


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("identity", ["flag", "learned"])
def test_both_forms_are_one_function(positions, identity):
    report = check_duality(psm(inference="cross", positions=positions, identity=identity), draw(2, 35))
    assert report.passed, report


def slots_read(model, function):
    """Run something; return how many slots each block of the inference module was given, in all rows together."""
    counts = [0] * len(model.inference.stack.blocks)

    def count(number):
        def hook(_module, inputs):
            counts[number] += inputs[0].shape[0] * inputs[0].shape[1]

        return hook

    hooks = [
        block.register_forward_pre_hook(count(i)) for i, block in enumerate(model.inference.stack.blocks)
    ]
    with torch.no_grad():
        function()
    for hook in hooks:
        hook.remove()
    return counts


@pytest.mark.parametrize("length", [3, 4, 23, 24])
def test_the_state_does_not_run_through_the_layers(length):
    tokens, prefixes = draw(2, length), (length - 1) // 4
    for kind, slots in (("cross", length), ("concatenated", length + 4 * prefixes)):
        model = psm(inference=kind)
        assert slots_read(model, lambda model=model: model(tokens)) == [2 * slots] * 2, kind
        # A stream is ready for a token that is not there yet, so it may have opened one chunk more.
        opened = 4 * (length // 4 - prefixes) * (kind == "concatenated")
        stepped = slots_read(model, lambda model=model: stream_by(model, tokens, [0] * length))
        assert stepped == [2 * (slots + opened)] * 2, kind


def test_every_layer_sees_the_state():
    """Without its first layer's look at the state the model says something else, and so without its last one's."""
    model, tokens = psm(inference="cross"), draw(2, 9)
    with torch.no_grad():
        expected = model(tokens)
        for block in model.inference.stack.blocks:
            remember = block.attention.remember
            block.attention.remember = lambda x, rotation, remember=remember: tuple(
                torch.zeros_like(part) for part in remember(x, rotation)
            )
            assert relative(model(tokens), expected) > 1e-3
            assert torch.equal(model(tokens)[:, :4], expected[:, :4])
            block.attention.remember = remember
        assert torch.equal(model(tokens), expected)


def test_work_is_linear_and_a_stream_logarithmic():
    model = psm(inference="cross", width=8)
    assert_counts(model, draw(1, 96), lengths=[24, 48, 96], work=1.25, memory=0.5)


def test_another_way_to_read_the_state_is_refused():
    with refuses(ValueError, "inference must be one of ['concatenated', 'cross']", "got 'else'"):
        TransformerPSMConfig(inference="else")
