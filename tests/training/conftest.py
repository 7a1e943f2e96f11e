import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Models this small only wait for a second thread, and a run is equal to itself on equal threads only."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
