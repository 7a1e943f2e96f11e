import pytest
import torch

from scannable.models import TransformerPSMConfig, build
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.training import CurriculumConfig, WordRunConfig, save


@pytest.fixture
def run(tmp_path):
    """The folder of a run whose model knows nothing yet."""
    task = WordProblemConfig(group="S3", longest=4)
    model = TransformerPSMConfig(width=16, heads=2, chunk=2, aggregator_layers=1, inference_layers=1)
    config = WordRunConfig(task=task, model=model, curriculum=CurriculumConfig(stages=(2,)))
    folder = tmp_path / "run"
    save(build(model, WordProblem(task).vocabulary), config, folder)
    return folder


@pytest.fixture(autouse=True)
def threads():
    """Commands may choose how many threads torch has; the tests after them do not inherit that."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)
