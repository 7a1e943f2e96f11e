"""Every example is short, runs, and says what it promises; the model in one file is the library's."""

import ast
import itertools
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import scannable as sc
from scannable.scans import extend_calls, merges
from scannable.tasks import WordProblem, WordProblemConfig
from scannable.testing import CountingAggregator

FOLDER = Path(__file__).parents[2] / "examples"
MINIMAL = "minimal_psm.py"
SAYS = {
    "any_operator.py": [
        "(((sc)(an))((na)(bl)))",
        "((sc)(an)), nothing, a, (ab), ((ab)l)",
        "everyone is back: True",
    ],
    "own_aggregator.py": ["0 of 64,000 answers wrong, 6 roots kept"],
    "state_tracking.py": [
        "steps: solved",
        "streaming at 1,600 tokens: 0.0% end wrong",
        "both forms are one function",
    ],
    "three_forms.py": ["chunkwise", "(1, 2, 12, 24) after 1,000 tokens", "ends in the state of the layer"],
}
EXAMPLES = [*SAYS, "bounded_memory.py", MINIMAL]


def run(name, as_name="__main__"):
    return runpy.run_path(str(FOLDER / name), run_name=as_name)


@pytest.fixture
def minimal():
    return SimpleNamespace(**run(MINIMAL, "minimal_psm"))


def test_every_example_is_listed_here():
    assert sorted(path.name for path in FOLDER.glob("*.*")) == sorted(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_begins_with_what_it_shows(name):
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) < (200 if name == MINIMAL else 60)
    first, *others = [line for line in ast.get_docstring(ast.parse(text)).splitlines() if line]
    assert first.endswith((".", ","))
    assert len(others) <= (4 if name == MINIMAL else 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs_and_says_what_it_promises(name, capsys):
    run(name)
    said = capsys.readouterr().out
    for words in SAYS[name]:
        assert words in said, said


@pytest.mark.slow
def test_the_model_in_one_file_learns_and_is_right_beyond_its_training(capsys):
    """Half of its steps and a tenth of its last length, for time; nothing else is changed."""
    source = (FOLDER / MINIMAL).read_text(encoding="utf-8")
    for whole, part in (("steps: int = 400", "steps: int = 200"), ("(8, 80, 800)", "(8, 80)")):
        assert source.count(whole) == 1
        source = source.replace(whole, part)
    exec(compile(source, MINIMAL, "exec"), {"__name__": "__main__"})
    snapped, free = capsys.readouterr().out.split("merged states are free")
    assert "    8 tokens:  0.0% end wrong" in snapped
    assert "   80 tokens:  0.0% end wrong" in snapped
    assert "36 of 36 merges" in snapped
    assert "  0 of 36 merges" in free


def test_memory_is_bounded_as_the_example_says(capsys):
    run("bounded_memory.py")
    said = capsys.readouterr().out
    assert "the same logits, True" in said
    rows = [line.replace(",", "").split() for line in said.splitlines()]
    kept = [[int(cell) for cell in row] for row in rows if row[0].isdigit()]
    tokens, decoder, psm, affine = (list(column) for column in zip(*kept, strict=True))
    assert tokens == [63, 255, 1023, 4095]
    assert decoder == [256 * count for count in tokens]  # a key and a value of 32 float32 numbers each
    # Every second power of two sets two binary digits more: a root and a fold each, of 16 such vectors.
    assert [later - earlier for earlier, later in itertools.pairwise(psm)] == [2 * 2 * 16 * 32 * 4] * 3
    assert affine == affine[:1] * 4


def imported(text):
    """Return the packages that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0] if not node.level else ".")
    return found


def test_the_model_in_one_file_imports_torch_and_nothing_of_ours():
    text = (FOLDER / MINIMAL).read_text(encoding="utf-8")
    assert imported(text) - set(sys.stdlib_module_names) == {"torch"}
    assert imported(text + "from scannable import scan\n") - set(sys.stdlib_module_names) == {
        "torch",
        "scannable",
    }
    assert not any(word in text for word in ("__import__", "importlib"))


class Skew:
    """Neither associative nor commutative; exact in float64."""

    def combine(self, left, right):
        return 2 * left + 3 * right

    def identity(self, like):
        return torch.zeros_like(like)


class Rows:
    """A combine of the file, with the rows and the calls that went through it."""

    def __init__(self, combine, chunk_axes):
        self.combine, self.axes, self.merges, self.calls = combine, chunk_axes, 0, 0

    def __call__(self, left, right):
        self.merges += left[..., *[0] * self.axes].numel()
        self.calls += 1
        return self.combine(left, right)


def assert_scans(minimal, combine):
    """Scan and counter of the file give the library's states of `Skew`, bit by bit, by as many merges."""
    leaves = torch.randint(0, 10, (1, 70, 2)).double()
    for length in range(71):
        expected = sc.scan(Skew(), leaves[:, :length], inclusive=True)
        counted = Rows(combine, 1)
        assert torch.equal(minimal.scan(counted, leaves[:, :length]), expected)
        assert counted.merges == merges(length)
        assert counted.calls <= extend_calls(0, length)
    counted = Rows(combine, 1)
    counter, ours = minimal.Counter(counted), sc.Counter.empty(Skew(), leaves[:, 0])
    assert counter.prefix is None
    for t in range(70):
        counter.push(leaves[:, t])
        ours = ours.push(leaves[:, t])
        assert torch.equal(counter.prefix, ours.prefix)
        assert counted.merges == merges(t + 1)
        kept = [(size, root, fold) for size, root, fold in counter.trees[::-1]]
        theirs = [(2**k, ours.roots[k], ours.folds[k]) for k in range(7) if (t + 1) >> k & 1]
        for (size, root, fold), (same_size, same_root, same_fold) in zip(kept, theirs, strict=True):
            assert size == same_size
            assert torch.equal(root, same_root)
            assert torch.equal(fold, same_fold)


def test_its_scan_and_its_counter_are_the_librarys(minimal):
    assert_scans(minimal, Skew().combine)


def test_another_bracketing_and_swapped_operands_are_noticed(minimal):
    def left_fold(combine, leaves):
        states = list(leaves[:, :1].unbind(1))
        for leaf in leaves[:, 1:].unbind(1):
            states.append(combine(states[-1], leaf))
        return torch.stack(states, 1) if states else leaves

    class Refolding(minimal.Counter):
        def push(self, root):
            super().push(root)
            for _, older, _ in self.trees[:-1]:
                self.combine(older, root)

    with pytest.raises(AssertionError):
        assert_scans(minimal, lambda left, right: Skew().combine(right, left))
    for fault in ({"scan": left_fold}, {"Counter": Refolding}):
        with pytest.raises(AssertionError):
            assert_scans(SimpleNamespace(**vars(minimal) | fault), Skew().combine)


NAMES = {
    "tokens": "encoder.tokens.weight",
    "slots": "inference.stack.slots.weight",
    "block.norm1": "inference.stack.blocks.0.attention_norm",
    "block.qkv": "inference.stack.blocks.0.attention.qkv",
    "block.out": "inference.stack.blocks.0.attention.out",
    "block.norm2": "inference.stack.blocks.0.mlp_norm",
    "block.up": "inference.stack.blocks.0.mlp.0",
    "block.down": "inference.stack.blocks.0.mlp.2",
    "block.norm3": "inference.stack.norm",
}


def named(name):
    """Return the library's name of a weight of the file."""
    module, _, leaf = name.rpartition(".")
    return NAMES[name] if name in NAMES else f"{NAMES[module]}.{leaf}"


def pair(minimal, chunk, snap):
    """Return the file's model and the library's with the same weights, and what counts the merges of each."""
    small = minimal.PSM(6, chunk=chunk, snap=snap).double()
    config = sc.TransformerPSMConfig(
        width=32,
        chunk=chunk,
        inference_layers=1,
        shared=True,
        codebook="tied" if snap else "none",
        codebook_gradient="stop",
        norm=1.0,
        logit_scale=1.2,
    )
    ours = sc.TransformerPSM(config, vocabulary=6).double()
    weights = dict(ours.named_parameters(remove_duplicate=False))  # a shared block has two names
    copied = {named(name): weight for name, weight in small.named_parameters()}
    assert {weights[name] for name in copied} == set(ours.parameters())
    with torch.no_grad():
        for name, weight in copied.items():
            weight.copy_(torch.randn_like(weight) / 3)  # norms and biases too
            weights[name].copy_(weight)
    return small, ours


class Counts:
    """How many merges each of two models has made since it was last asked."""

    def __init__(self, small, ours):
        self.rows, self.counting = Rows(small.agg, 2), CountingAggregator(ours.aggregator)
        small.agg, ours.aggregator = self.rows, self.counting

    def take(self):
        mine, self.rows.merges = self.rows.merges, 0
        return mine, self.counting.take()[0]


@pytest.mark.parametrize("snap", [True, False])
@pytest.mark.parametrize("chunk", [1, 4])
def test_its_model_is_the_librarys_in_both_forms(minimal, chunk, snap):
    small, ours = pair(minimal, chunk, snap)
    counts = Counts(small, ours)
    for length in (1, 2, 3, 4, 7, 8, 9, 29, 64):
        tokens = torch.randint(0, 6, (3, length))
        with torch.no_grad():
            expected = ours(tokens)
            torch.testing.assert_close(small(tokens), expected, rtol=0, atol=1e-10)
            assert counts.take() == (3 * merges((length - 1) // chunk),) * 2

            reader, stream = minimal.Stream(small), ours.start(3)
            for t in range(length):
                logits, stream = ours.step(stream, tokens[:, t])
                read = reader.step(tokens[:, t])
                torch.testing.assert_close(read, logits, rtol=0, atol=1e-10)
                torch.testing.assert_close(read, expected[:, t], rtol=0, atol=1e-10)
            assert counts.take() == (3 * merges(length // chunk),) * 2


@pytest.mark.parametrize("snap", [True, False])
@pytest.mark.parametrize("chunk", [1, 4])
def test_its_gradients_are_the_librarys(minimal, chunk, snap):
    small, ours = pair(minimal, chunk, snap)
    tokens = torch.randint(0, 6, (2, 23))
    weights = torch.randn(2, 23, 6).double()
    for model in (small, ours):
        (model(tokens) * weights).sum().backward()
    gradients = dict(ours.named_parameters(remove_duplicate=False))
    for name, weight in small.named_parameters():
        torch.testing.assert_close(weight.grad, gradients[named(name)].grad, rtol=1e-9, atol=1e-9)


def test_its_words_are_the_librarys(minimal):
    task = WordProblem(WordProblemConfig(group="S3"))
    assert task.group.elements == tuple(minimal.GROUP)
    assert torch.equal(task.group.table, minimal.TABLE)
    tokens, answers = minimal.words(50, 13)
    assert torch.equal(task.products(tokens), answers)
    assert len(tokens.unique()) == 6
