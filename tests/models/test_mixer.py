"""The mixer as a layer of somebody's network."""

import torch
from torch import nn

from models.subjects import refuses, stir, stream_by
from scannable import PrefixScannableMixer
from scannable.modules import GatedSum
from scannable.testing._subject import relative


class Residual(nn.Module):
    """What a user writes around it."""

    def __init__(self, width):
        super().__init__()
        self.layers = nn.ModuleList(PrefixScannableMixer(width, heads=2, chunk=3) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))

    def forward(self, x):
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return x

    def stream(self, x):
        streams = [layer.start(len(x)) for layer in self.layers]
        found = []
        for t in range(x.shape[1]):
            y = x[:, t]
            for i, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
                mixed, streams[i] = layer.step(streams[i], norm(y))
                y = y + mixed
            found.append(y)
        return torch.stack(found, 1)


def test_it_drops_into_a_residual_network_in_both_forms():
    network, x = stir(Residual(8)), torch.randn(2, 11, 8, dtype=torch.float64)
    with torch.no_grad():
        assert network(x).shape == x.shape
        assert relative(network.stream(x), network(x)) < 1e-12
        later = x.clone()
        later[:, 7] += 1
        assert torch.equal(network(later)[:, :7], network(x)[:, :7])


def test_it_learns():
    torch.manual_seed(0)
    network, x = Residual(8), torch.randn(4, 12, 8)
    optimiser, losses = torch.optim.Adam(network.parameters(), lr=1e-2), []
    for _ in range(30):
        loss = (network(x)[:, 1:] - x[:, :-1]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_gradients_to_its_input_are_those_of_finite_differences():
    mixer = stir(PrefixScannableMixer(4, heads=1, chunk=2))
    x = torch.randn(2, 7, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mixer, x, fast_mode=True)
    assert torch.autograd.gradcheck(lambda x: stream_by(mixer, x, [0, 0, 0, 4])[0], x, fast_mode=True)


def test_another_aggregator_may_be_given():
    mixer = stir(PrefixScannableMixer(8, heads=2, chunk=3, aggregator=GatedSum(8)))
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    with torch.no_grad():
        assert relative(stream_by(mixer, x, [0] * 4 + [7])[0], mixer(x)) < 1e-12


def test_vectors_of_another_form_are_refused():
    mixer = PrefixScannableMixer(8, heads=2, chunk=3)
    with refuses(ValueError, "(B >= 1, T, 8)", "got (2, 5, 7)"):
        mixer(torch.randn(2, 5, 7))
    with refuses(ValueError, "(B >= 1, T, 8)", "got (5, 8)"):
        mixer(torch.randn(5, 8))
    with refuses(TypeError, "torch.float32 like the model", "got torch.float64", "cast"):
        mixer(torch.randn(2, 5, 8).double())
    with refuses(ValueError, "at least one token", "chunk=0", "raise it"):
        PrefixScannableMixer(8, heads=2, chunk=0)
