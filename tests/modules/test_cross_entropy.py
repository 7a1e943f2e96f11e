"""Cross-entropy by pieces against torch's, in value, gradients, rounding and memory."""

import pytest
import torch
import torch.nn.functional as F
from torch._dynamo.backends.common import aot_autograd
from torch.utils._python_dispatch import TorchDispatchMode

from agreement import refused
from scannable.modules import _cross_entropy, linear_cross_entropy, token_losses
from scannable.testing._subject import relative

EXACT = 1e-12


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Three rows at once, so that few rows make several pieces."""
    monkeypatch.setattr(_cross_entropy, "PIECE", 3)


def draw(rows, vocabulary=7, width=5, dtype=torch.float64, device="cpu"):
    x = torch.randn(rows, width, dtype=torch.float64).to(device, dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, dtype=torch.float64).to(device, dtype).requires_grad_()
    targets = torch.randint(vocabulary, (rows,)).to(device)
    share = torch.rand(rows, dtype=torch.float64) * (torch.arange(rows) % 4 != 1)
    return x, weight, targets, share.to(device, dtype)


def rounding(device):
    """How near two products in bfloat16 are: a GPU sums in another order if the weights are padded."""
    return 1e-6 if device.type == "cpu" else 1e-2


def plain(x, weight, targets, share):
    return (share * F.cross_entropy(x @ weight.T, targets, reduction="none")).sum()


def gradients(loss, *sources):
    """Gradients of a loss that something else is done to."""
    return torch.cat([g.flatten() for g in torch.autograd.grad(3 * loss, sources)])


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 6, 10])
def test_value_and_gradients_are_torchs(rows, device):
    x, weight, targets, share = draw(rows, device=device)
    expected, got = (f(x, weight, targets, share) for f in (plain, linear_cross_entropy))
    assert got.dtype == torch.float64
    assert torch.allclose(got, expected, rtol=EXACT, atol=0)
    assert relative(gradients(got, x, weight), gradients(expected, x, weight)) <= EXACT


def test_gradients_are_those_of_finite_differences():
    x, weight, targets, share = draw(4)
    assert torch.autograd.gradcheck(lambda a, b: linear_cross_entropy(a, b, targets, share), (x, weight))


def test_in_float16_a_scaled_loss_has_gradients_too():
    x, weight, targets, _ = draw(2000, vocabulary=90, width=8, dtype=torch.float32)
    share = torch.full((2000,), 1 / 2000)
    with torch.autocast("cpu", torch.float16):
        loss = 2.0**16 * linear_cross_entropy(x, weight, targets, share)
    expected = torch.autograd.grad(2.0**16 * plain(x, weight, targets, share), (x, weight))
    for got, wanted in zip(torch.autograd.grad(loss, (x, weight)), expected, strict=True):
        assert relative(got, wanted) < 5e-3


def test_in_float16_sums_over_many_rows_stay_finite():
    rows = 16_384
    x, weight, _, _ = draw(rows, vocabulary=64, width=8, dtype=torch.float32)
    x = x.detach().clone()
    x[:, 0] = 12
    targets, share = torch.arange(rows) % 128 // 2, torch.full((rows,), 1 / rows)
    targets[::2] = 0
    with torch.autocast("cpu", torch.float16):
        loss = linear_cross_entropy(x, weight, targets, share)
    (got,) = torch.autograd.grad(loss, weight)
    assert relative(got, *torch.autograd.grad(plain(x, weight, targets, share), weight)) < 5e-3


def test_float64_stays_so_under_autocast():
    x, weight, targets, share = draw(5)
    with torch.autocast("cpu", torch.bfloat16):
        got = linear_cross_entropy(x, weight, targets, share)
    assert torch.allclose(got, plain(x, weight, targets, share), rtol=EXACT, atol=0)


def test_what_does_not_fit_or_has_no_gradient_is_refused():
    x, weight, targets, share = draw(6)
    for wrong in ((targets[:5], share), (targets, share[:1]), (targets, share.requires_grad_())):
        with refused(ValueError, "Each of the 6 rows needs a target and a constant share"):
            linear_cross_entropy(x, weight, *wrong)
    with pytest.raises(NotImplementedError, match="gradients of first order only"):
        torch.autograd.grad(linear_cross_entropy(x, weight, targets, share.detach()), x, create_graph=True)


def test_a_row_without_a_share_counts_for_nothing():
    x, weight, targets, share = draw(10)
    value = linear_cross_entropy(x, weight, targets, share)
    (of_x,) = torch.autograd.grad(value, x)
    assert [bool(row.any()) for row in of_x] == (share != 0).tolist()
    other = torch.where(share == 0, (targets + 1) % 7, targets)
    assert torch.equal(linear_cross_entropy(x, weight, other, share), value)


def test_only_what_learns_is_given_a_gradient():
    x, weight, targets, share = draw(5)
    for learning in ([x], [weight], [x, weight]):
        parts = [part if any(part is one for one in learning) else part.detach() for part in (x, weight)]
        expected, got = (
            gradients(f(*parts, targets, share), *learning) for f in (plain, linear_cross_entropy)
        )
        assert relative(got, expected) <= EXACT
    assert not linear_cross_entropy(x.detach(), weight.detach(), targets, share).requires_grad


def test_no_rows_have_no_loss():
    x, weight, targets, share = draw(0)
    loss = linear_cross_entropy(x, weight, targets, share)
    assert loss == 0
    assert not torch.autograd.grad(loss, weight)[0].any()
    assert token_losses(x, weight, targets).shape == (0,)


def test_under_autocast_products_are_rounded_and_sums_are_not(device):
    x, weight, targets, share = draw(50, dtype=torch.float32, device=device)
    expected = plain(x, weight, targets, share)
    with torch.autocast(device.type, torch.bfloat16):
        got, losses = linear_cross_entropy(x, weight, targets, share), token_losses(x, weight, targets)
    assert got.dtype == losses.dtype == torch.float32
    narrow = weight.bfloat16().T
    logits = torch.cat([(rows.bfloat16() @ narrow).float() for rows in x.split(3)])
    rounded = F.cross_entropy(logits, targets, reduction="none")
    assert relative(losses, rounded) < rounding(device)
    assert relative(got[None], (share * rounded).sum()[None]) < rounding(device)
    assert relative(got[None], expected[None]) < 0.01
    of_ours, of_plain = (torch.autograd.grad(loss, (x, weight)) for loss in (got, expected))
    for one, other in zip(of_ours, of_plain, strict=True):
        assert one.dtype == torch.float32
        assert relative(one, other) < 0.02
    assert relative(losses, F.cross_entropy(x @ weight.T, targets, reduction="none")) < 0.02


def test_a_model_in_bfloat16_has_losses_in_float32(device):
    x, weight, targets, share = draw(10, dtype=torch.bfloat16, device=device)
    logits = torch.cat([(rows @ weight.T).float() for rows in x.split(3)])
    expected = F.cross_entropy(logits, targets, reduction="none")
    losses, loss = token_losses(x, weight, targets), linear_cross_entropy(x, weight, targets, share)
    assert losses.dtype == loss.dtype == torch.float32
    assert relative(losses, expected) < rounding(device)
    assert relative(loss[None], (share.float() * expected).sum()[None]) < rounding(device)
    assert {x.dtype for x in torch.autograd.grad(loss, (x, weight))} == {torch.bfloat16}


def test_losses_of_single_tokens_are_torchs_and_learn_nothing(device):
    x, weight, targets, _ = draw(10, device=device)
    got = token_losses(x, weight, targets)
    assert not got.requires_grad
    assert relative(got, F.cross_entropy(x @ weight.T, targets, reduction="none")) <= EXACT


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        made = function(*arguments, **(options or {}))
        for x in made if isinstance(made, tuple | list) else [made]:
            self.numbers = max(self.numbers, x.numel() if isinstance(x, torch.Tensor) else 0)
        return made


def test_logits_are_made_piece_by_piece_and_none_are_kept():
    x, weight, targets, share = draw(90, vocabulary=40, width=2)
    kept = []

    def note(saved):
        kept.append(saved.numel())
        return saved

    with Largest() as made, torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        linear_cross_entropy(x, weight, targets, share).backward()
        token_losses(x, weight, targets)
    assert made.numbers == max(3 * 40, 90 * 2)
    assert sorted(kept) == [1, 40 * 2, 90 * 2]  # the gradients of the weight and of x, and their unit

    with Largest() as made, torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        plain(x, weight, targets, share).backward()
    assert made.numbers == max(kept) == 90 * 40


def all_before(node):
    """What an operator of a graph needs, directly or not."""
    found, todo = set(), [node]
    while todo:
        new = [x for x in todo.pop().all_input_nodes if x not in found]
        found.update(new)
        todo += new
    return found


@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("waiting", [True, False])
def test_compiled_a_piece_waits_for_the_sums_of_the_one_before(waiting, monkeypatch):
    if not waiting:
        monkeypatch.setattr(_cross_entropy, "following", lambda x, earlier: x.clone())
    x, weight, targets, share = draw(9)
    graphs = []

    def keep(graph, inputs):
        graphs.append(graph)
        return graph

    torch._dynamo.reset()
    compiled = torch.compile(linear_cross_entropy, backend=aot_autograd(fw_compiler=keep), fullgraph=True)
    assert torch.allclose(compiled(x, weight, targets, share), plain(x, weight, targets, share))
    products = [n for n in graphs[0].graph.nodes if n.target is torch.ops.aten.mm.default]
    logits = [n for n in products if n.meta["val"].shape == (3, 7)]
    of_weight = [n for n in products if n.meta["val"].shape == (7, 5)]
    assert len(logits) == len(of_weight) == 3
    for one, of_one, other in zip(logits, of_weight, logits[1:], strict=False):
        assert ({one, of_one} <= all_before(other)) == waiting


@pytest.mark.gpu
@pytest.mark.compile
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_memory_does_not_grow_by_logits(monkeypatch):
    piece, vocabulary, width = 4096, 16_384, 64
    monkeypatch.setitem(_cross_entropy.PIECES, "cuda", piece)
    compiled, peaks = torch.compile(linear_cross_entropy, fullgraph=True, dynamic=False), []
    for pieces in (2, 8):
        x, weight, targets, share = draw(pieces * piece, vocabulary, width, torch.bfloat16, "cuda")
        compiled(x, weight, targets, share).backward()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        compiled(x, weight, targets, share)
        peaks.append(torch.cuda.max_memory_allocated() - before)
    assert peaks[1] - peaks[0] < piece * vocabulary  # half a piece's logits, in bytes
