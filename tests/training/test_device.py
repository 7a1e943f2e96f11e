import pytest
import torch

from scannable.training._device import rounded_products


def test_products_are_rounded_inside_only():
    before = torch.get_float32_matmul_precision()
    with rounded_products(allowed=True):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    with rounded_products(allowed=False):
        assert torch.get_float32_matmul_precision() == before


def test_the_setting_comes_back_after_an_error():
    before = torch.get_float32_matmul_precision()
    with pytest.raises(ZeroDivisionError), rounded_products(allowed=True):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_a_program_that_set_it_the_newer_way_is_left_alone(monkeypatch):
    def refuse():
        raise RuntimeError("PyTorch is checking the matmul precision without a specific backend name")

    monkeypatch.setattr(torch, "get_float32_matmul_precision", refuse)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", pytest.fail)
    with rounded_products(allowed=True):
        pass
