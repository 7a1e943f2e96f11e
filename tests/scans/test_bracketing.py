import pytest

from scannable.scans import extend_calls, merges, perfect_trees, scan_calls


def test_trees_are_the_binary_digits_oldest_and_largest_first():
    assert perfect_trees(0) == []
    assert perfect_trees(6) == [(0, 4), (4, 6)]
    assert perfect_trees(13) == [(0, 8), (8, 12), (12, 13)]


@pytest.mark.parametrize("count", range(300))
def test_trees_cover_the_history_without_gaps(count):
    spans = perfect_trees(count)
    assert [t for start, stop in spans for t in range(start, stop)] == list(range(count))
    sizes = [stop - start for start, stop in spans]
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(size.bit_count() == 1 for size in sizes)


def test_merges_count_trees_and_folds():
    def merges_by_hand(count):
        carries = sum((t & -t).bit_length() - 1 for t in range(1, count + 1))
        folds = sum(t.bit_count() > 1 for t in range(1, count + 1))
        return carries + folds

    assert [merges(n) for n in range(300)] == [merges_by_hand(n) for n in range(300)]
    assert merges(1024) == 2036
    assert [merges(1 << k) for k in range(12)] == [2 * ((1 << k) - 1) - k for k in range(12)]


def test_bounds_of_batched_calls():
    assert [scan_calls(n) for n in (0, 1, 2, 3, 4, 5, 8, 9, 1024)] == [0, 0, 1, 3, 3, 5, 5, 7, 19]
    assert [extend_calls(0, n) for n in (0, 1, 2, 1024)] == [0, 2, 4, 22]
    assert extend_calls(5, 3) == extend_calls(0, 8)
