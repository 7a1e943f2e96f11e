"""Tables of vectors, of free length or of one."""

import torch

from models.subjects import refuses
from scannable.modules import Codes


def test_free_codes_are_the_weights():
    codes = Codes(7, 4)
    assert codes.vectors() is codes.weight
    assert torch.equal(codes(torch.tensor([[3, 1]])), codes.weight[[3, 1]][None])


def test_codes_of_one_length_have_that_length_and_pass_gradcheck():
    codes = Codes(7, 4, norm=1.5).double()
    assert torch.allclose(codes.vectors().norm(dim=-1), torch.tensor(1.5, dtype=torch.float64))
    assert torch.equal(codes(torch.tensor([3])), codes.vectors()[3:4])
    assert torch.autograd.gradcheck(
        lambda w: torch.func.functional_call(codes, {"weight": w}, torch.tensor([3])), codes.weight
    )


def test_a_norm_must_be_positive():
    with refuses(ValueError, "norm of codes must be positive", "got 0.0", "leave it out"):
        Codes(7, 4, norm=0.0)
