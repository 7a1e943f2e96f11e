"""What models cost: no loop over chunks, logarithmic streams, and nothing computed to be thrown away."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from counting import operators
from models.subjects import decoder, draw, psm, stream_by
from scannable import TransformerPSM, TransformerPSMConfig
from scannable.scans import merges, scan_calls
from scannable.testing import CountingAggregator, assert_counts


def count_calls(module):
    calls = []
    module.register_forward_hook(lambda *_: calls.append(1))
    return calls


@pytest.mark.parametrize("length", [4, 31, 32, 33, 256])
def test_the_parallel_form_has_no_loop_over_chunks(length):
    model = psm(chunk=4)
    model.aggregator = CountingAggregator(model.aggregator)
    read, encoded = count_calls(model.inference), count_calls(model.encoder)
    model(draw(2, length))
    before = (length - 1) // 4
    assert model.aggregator.calls <= scan_calls(before + 1)
    assert model.aggregator.rows == 2 * merges(before)
    assert len(read) <= 3
    assert len(encoded) <= 1 + len(read)


def test_streaming_makes_the_same_merges():
    for sizes in ([0] * 61, [61], [7, 50, 4]):
        model = psm(chunk=4)
        model.aggregator = CountingAggregator(model.aggregator)
        stream_by(model, draw(1, 61), sizes)
        assert model.aggregator.rows == merges(15)


def test_the_last_of_a_long_prompt_costs_only_merges_and_one_chunk():
    def rows_read(length, logits):
        model, rows = psm(chunk=4), []
        model.inference.stack.register_forward_hook(lambda _m, inputs, _o: rows.append(len(inputs[0])))
        model.prefill(model.start(), draw(1, length), logits=logits)
        return sum(rows)

    assert rows_read(64, "all") == 16
    assert rows_read(64, "last") == 1
    assert rows_read(63, "last") == 0


def test_work_is_linear_and_a_stream_logarithmic():
    report = assert_counts(psm(chunk=4, width=8), draw(1, 96), lengths=[24, 48, 96], work=1.25, memory=0.5)
    assert report["merges beyond the formula, parallel"] == 0


def test_a_stream_grows_by_two_states_for_each_set_bit():
    model = psm(chunk=4)
    state, sizes = 4 * 16 * 8, []
    for chunks in range(1, 17):
        _, stream = model.prefill(model.start(), draw(1, 4 * chunks))
        sizes.append(stream.nbytes)
        fewer = stream.nbytes - model.prefill(model.start(), draw(1, 4))[1].nbytes
        # With one bit set the fold is the root, but in memory of its own.
        assert fewer == (chunks.bit_count() - 1) * 2 * state
    assert max(sizes) == sizes[14]


def test_the_stream_of_the_decoder_grows_with_every_token():
    model = decoder()
    sizes = [model.prefill(model.start(), draw(1, n))[1].nbytes for n in (2, 3, 40)]
    assert sizes == [n * 2 * 2 * 16 * 8 for n in (2, 3, 40)]  # keys and values of two layers


def test_a_stream_does_not_keep_the_prompt_alive():
    model = psm(chunk=1)
    prompts = [draw(1, n) for n in (64, 1024)]
    short, long = (model.prefill(model.start(), prompt)[1] for prompt in prompts)
    assert short.nbytes == long.nbytes


def flops(function):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        function()
    return counter.get_total_flops()


def test_the_aggregator_computes_nothing_that_is_thrown_away():
    """The last block: keys and values of all slots, but queries, output and MLP of the right half only."""
    width, slots = 16, 4
    combine = psm(chunk=slots).aggregator.combine
    states = torch.randn(1, slots, width, dtype=torch.float64)
    keys_and_values = 2 * (2 * slots) * width * (2 * width)
    of_the_right = 2 * slots * width * (width + width + 8 * width)
    attention = 2 * 2 * slots * (2 * slots) * width
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        assert flops(lambda: combine(states, states)) == keys_and_values + of_the_right + attention


def test_twice_as_many_tokens_take_two_levels_more_and_a_stream_stays_small():
    model = TransformerPSM(TransformerPSMConfig(width=64, heads=4, chunk=16), 100)
    tokens = torch.randint(0, 100, (2, 2048))
    with torch.no_grad():
        calls = [operators(lambda n=n: model(tokens[:, :n])) for n in (512, 1024, 2048)]
        assert calls[0] < calls[1]
        assert calls[2] - calls[1] == calls[1] - calls[0]
        assert model(tokens).shape == (2, 2048, 100)
        assert model.prefill(model.start(2), tokens)[1].nbytes < 2**18
