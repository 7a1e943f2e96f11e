"""Mutants of the fast affine forms: agreement with the definition kills every one."""

import ast
import copy
import inspect
import types

import pytest
import torch

from affine.cases import (
    Kind,
    assert_close,
    distance,
    draw,
    draw_elementwise,
    everything,
    offsets_of,
    run,
)
from scannable.affine import (
    _chunkwise,
    _decays,
    _elementwise,
    _layout,
    _passage,
    _recurrence,
    _scores,
    _states,
    _summed,
)

OTHER = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE}

SUMS = tuple(
    Kind(decay, erase=False, read=read) for decay in ("none", "scalar") for read in ("after", "before")
)
KINDS = (
    Kind("none", erase=True, read="after"),
    *(Kind("scalar", erase=True, read=read) for read in ("after", "before")),
    *SUMS,
    *(Kind("diagonal", erase, read) for erase in (False, True) for read in ("after", "before")),
)

# Statements that choose how fast or with what rounding something goes: changed, they still give the right result.
FREE = {
    _chunkwise: (
        "CHUNK = ",
        "LONGEST = ",
        "one = longest == 1",
        "size",
        "while size < most",
        "return min(size",
    ),
    _decays: ("size = 1 <<",),
    _elementwise: ("ENTRIES = ", "wanted = ", "spans = min(", "if spans < 2"),
    _layout: (),
    _passage: (),
    _scores: ("if other.shape[2] > 4",),
    _states: (),
    _summed: (),
}

USES = {
    _decays: ((_summed, "segments"), (_summed, "Weigh"), (_scores, "segments"), (_scores, "factors")),
    _layout: ((_chunkwise, "Layout"), (_summed, "Layout")),
    _passage: ((_chunkwise, "Passage"),),
    _scores: ((_chunkwise, "weigh"), (_summed, "weigh")),
    _states: ((_summed, "Through"),),
    _summed: ((_chunkwise, "summed"),),
}
"""Where a mutant is put in."""


def changes_of(node):
    """Yield what a node can become that is wrong but runs."""
    if isinstance(node, ast.BinOp) and type(node.op) in OTHER:
        yield ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        yield node.left
        yield node.right
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
        yield ast.Compare(node.left, [OTHER[type(node.ops[0])](), *node.ops[1:]], node.comparators)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield node.operand
    if isinstance(node, ast.IfExp):
        yield ast.IfExp(node.test, node.orelse, node.body)
    called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
    if called in ("exp", "flip", "prod"):
        yield node.func.value
    if called in ("tril", "masked_fill"):
        yield ast.Call(node.func, [ast.BinOp(node.args[0], ast.Sub(), ast.Constant(1)), *node.args[1:]], [])
        yield node.func.value
    if isinstance(node, ast.Slice):
        for name in ("lower", "upper"):
            bound = getattr(node, name)
            if bound is not None:
                moved = copy.copy(node)
                setattr(moved, name, ast.BinOp(bound, ast.Add(), ast.Constant(1)))
                yield moved


class Changed(ast.NodeTransformer):
    """Walk the code below statements that are not free, and make one of the changes."""

    def __init__(self, free, index=None):
        self.free, self.index, self.found = free, index, []

    def visit(self, node):
        if isinstance(node, ast.stmt) and ast.unparse(node).startswith(self.free or ("\0",)):
            return node
        if isinstance(node, ast.FunctionDef):
            node.body = [self.visit(statement) for statement in node.body]
            return node
        for change in changes_of(node):
            self.found.append(f"line {node.lineno}: {ast.unparse(node)} -> {ast.unparse(change)}")
            if len(self.found) - 1 == self.index:
                return ast.copy_location(change, node)
        return self.generic_visit(node)


def mutants_of(module):
    """Yield what was changed, and the module with that change."""
    source = inspect.getsource(module)
    every = Changed(FREE[module])
    every.visit(ast.parse(source))
    for index, what in enumerate(every.found):
        tree = ast.fix_missing_locations(Changed(FREE[module], index).visit(ast.parse(source)))
        mutant = types.ModuleType(module.__name__)
        vars(mutant).update({name: x for name, x in vars(module).items() if name.startswith("__")})
        exec(compile(tree, module.__file__, "exec"), vars(mutant))
        yield what, mutant


def check_recurrences():
    lengths = [5, 0, 1, 12]
    assert _chunkwise.Layout(1, sum(lengths), 1, lengths, 4).steps == [3, 2, 1]
    for kind in KINDS:
        for given, options in (
            (draw(kind, 2, 13), {}),
            (draw(kind, 1, sum(lengths), groups=1, gates="edges", first=4), {"offsets": offsets_of(lengths)}),
        ):
            expected = run(given, implementation="recurrent", read=kind.read, **options)
            found = run(given, read=kind.read, **options)
            assert all(distance(x, y) < 1e-10 for x, y in zip(found, expected, strict=True))


def check_segments():
    """Compare with sums of segments of four blocks of eight tokens, each by itself."""
    decay = -torch.rand(2, 32).double()
    parts, *ends = _summed.segments(decay)
    between = [[decay[:, s + 1 : t + 1].sum(1) for s in range(32)] for t in range(32)]
    between = torch.stack([torch.stack(row, 1) for row in between], 1)
    assert distance(_scores.factors(parts), between.exp().tril()) < 1e-12
    backwards = decay.flip(1).cumsum(1).flip(1)
    expected = decay.cumsum(1), backwards - decay, backwards[:, :1]
    assert all(distance(x, y) < 1e-12 for x, y in zip(ends, expected, strict=True))


def check_derivatives(kinds):
    """Compare gradients too, and let finite differences judge those of second order."""
    check_recurrences()
    for kind in kinds:
        given = draw(kind, 1, 11, groups=1)
        found, expected = (
            everything(given, implementation=x, read=kind.read) for x in ("chunkwise", "recurrent")
        )
        assert_close(found, expected)
        given = {name: x.detach().requires_grad_() for name, x in given.items()}
        call = lambda *x: run(dict(zip(given, x, strict=True)), read=kind.read)  # noqa: E731, B023
        torch.autograd.gradgradcheck(call, tuple(given.values()), fast_mode=True)


def check_elementwise(monkeypatch):
    for entries in (0, 1 << 40):
        monkeypatch.setitem(_recurrence._elementwise.ENTRIES, "cpu", entries)
        given = draw_elementwise(1, 11, 2)
        assert_close(everything(given), everything(given, implementation="recurrent"))
        given = {name: x.requires_grad_() for name, x in given.items()}
        call = lambda *x: run(dict(zip(given, x, strict=True)))  # noqa: E731, B023
        torch.autograd.gradgradcheck(call, tuple(given.values()), fast_mode=True)


def install(monkeypatch, module, mutant):
    monkeypatch.setattr(_chunkwise, "CHUNK", 4)
    if module is _elementwise:
        monkeypatch.setattr(_recurrence, "_elementwise", mutant)
    elif module is _chunkwise:
        mutant.CHUNK = 4
        monkeypatch.setattr(_recurrence, "chunkwise", mutant.chunkwise)
    else:
        for user, name in USES[module]:
            monkeypatch.setattr(user, name, getattr(mutant, name))


@pytest.mark.parametrize("module", FREE, ids=lambda module: module.__name__.rpartition("_")[2])
def test_mutants_of_the_fast_forms_are_caught(monkeypatch, module):
    checks = {
        _elementwise: lambda: check_elementwise(monkeypatch),
        _decays: lambda: (check_segments(), check_derivatives(SUMS[2:])),
        _passage: lambda: check_derivatives(KINDS[:2]),
        _scores: lambda: check_derivatives(KINDS[-4:]),
        _states: lambda: check_derivatives([*SUMS[1:3], KINDS[-4]]),
    }
    check = checks.get(module, check_recurrences)
    install(monkeypatch, module, module)
    check()
    alive, count = [], 0
    for what, mutant in mutants_of(module):
        count += 1
        with monkeypatch.context() as patch:
            install(patch, module, mutant)
            try:
                check()
            except Exception:  # noqa: BLE001  a mutant that crashes is caught as well
                continue
        alive.append(what)
    assert count >= 8
    assert not alive, "\n".join(alive)
