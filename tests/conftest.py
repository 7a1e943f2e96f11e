"""Every test starts from one seed, reads poisoned memory, and says on which device it runs."""

import pytest
import torch
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser):
    parser.addoption("--once", action="store_true", help="run each test with its first parameters only")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if config.getoption("once"):
        first = {(item.path, item.originalname): item for item in reversed(items)}
        config.hook.pytest_deselected(items=[item for item in items if item not in set(first.values())])
        items[:] = reversed(first.values())
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU, and a torch built for CUDA"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Run the test on the CPU and, where there is one, on a GPU."""
    return torch.device(request.param)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def poison(request, monkeypatch):
    """Fill uninitialised memory with NaN, so that reading it cannot pass by luck."""
    if request.node.get_closest_marker("compile"):
        return

    def poisoned(make):
        def make_poisoned(*args, **kwargs):
            made = make(*args, **kwargs)
            with torch.no_grad():
                return made.fill_(torch.nan) if made.is_floating_point() and not made.is_meta else made

        return make_poisoned

    for owner, name in ((torch, "empty"), (torch, "empty_like"), (torch.Tensor, "new_empty")):
        monkeypatch.setattr(owner, name, poisoned(getattr(owner, name)))
