"""The oracle of the scan tests: all forms against the definition, without tolerance."""

import contextlib

import jaxtyping
import pytest
import torch
from torch.utils import _pytree

from scannable import Counter, scan
from scannable.scans import reference


@contextlib.contextmanager
def refused(error, match):
    """Expect our error; under the jaxtyping hook the annotation may refuse the argument before we do."""
    with pytest.raises((error, jaxtyping.TypeCheckError)) as caught:
        yield
    if not isinstance(caught.value, jaxtyping.TypeCheckError):
        assert caught.match(match)


def at(state, index):
    """Index axis 1 of every tensor of a state, a tensor, a tuple or a dictionary."""
    if isinstance(state, dict):
        return {name: x[:, index] for name, x in state.items()}
    if isinstance(state, tuple):
        return tuple(x[:, index] for x in state)
    return state[:, index]


def assert_equal(got, expected):
    """Bit by bit, for a state that is a tensor, a tuple, a dictionary or None; by hand, as it is called often."""
    if isinstance(expected, dict):
        assert got.keys() == expected.keys()
        for name in expected:
            assert_equal(got[name], expected[name])
    elif isinstance(expected, tuple):
        assert len(got) == len(expected)
        for x, y in zip(got, expected, strict=True):
            assert_equal(x, y)
    elif expected is None:
        assert got is None
    else:
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


def definition(aggregator, leaves, length):
    """The prefixes of 0, 1, ..., ``length`` leaves by ``scans.reference``, ``(B, length + 1, ...)``."""
    states = [reference.prefix_state(aggregator, leaves, count) for count in range(length + 1)]
    return _pytree.tree_map(lambda *x: torch.stack(x, 1), *states)


def assert_scans(aggregator, leaves, length, expected):
    """Both scans of the first ``length`` leaves give the expected prefixes."""
    some = at(leaves, slice(length))
    assert_equal(scan(aggregator, some), at(expected, slice(length)))
    assert_equal(scan(aggregator, some, inclusive=True), at(expected, slice(1, length + 1)))


def counters_of(aggregator, leaves, length):
    """The counters after 0, 1, ..., ``length`` leaves, pushed one by one."""
    counters = [Counter.empty(aggregator, at(leaves, 0))]
    for t in range(length):
        counters.append(counters[-1].push(at(leaves, t)))
    return counters


def assert_same_counter(got, expected):
    assert got.count == expected.count
    for field in ("roots", "folds"):
        for x, y in zip(getattr(got, field), getattr(expected, field), strict=True):
            assert_equal(x, y)


def assert_extends(counters, leaves, start, stop, expected):
    """Extending from ``start`` to ``stop`` gives the expected prefixes and the counter that pushes give."""
    prefixes, counter = counters[start].extend(at(leaves, slice(start, stop)))
    assert_equal(prefixes, at(expected, slice(start, stop)))
    assert_equal(counter.prefix, at(expected, stop))
    assert_same_counter(counter, counters[stop])


def assert_agreement(aggregator, leaves, length):
    """Definition = parallel = counter = extend from every split, at every length."""
    expected = definition(aggregator, leaves, length)
    counters = counters_of(aggregator, leaves, length)
    for count, counter in enumerate(counters):
        assert_equal(counter.prefix, at(expected, count))
        assert sum(root is not None for root in counter.roots) == count.bit_count()
    for stop in range(1, length + 1):
        assert_scans(aggregator, leaves, stop, expected)
        for start in range(stop + 1):
            assert_extends(counters, leaves, start, stop, expected)
    return counters, expected
