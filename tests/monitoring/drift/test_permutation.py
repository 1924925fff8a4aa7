"""Groups are permuted in runs, as many as before, with the observed assignment in the first row."""

from __future__ import annotations

import numpy as np
import pytest
from tests.monitoring.worlds import days, in_order, windows_of

from headway.core.errors import NotApplicable
from headway.monitoring.detectors.group_permutation import MAX_BLOCKS, MIN_RUNS, make_blocks, permute_windows


def blocks(count: int, *, run: int = 7, rows: int = 1):
    return make_blocks(in_order(*days(np.random.default_rng(0), count=count, rows=rows), run=run))


def test_the_first_row_is_the_observed_assignment_and_every_row_has_as_many():
    dealt = permute_windows(blocks(60), 50)
    assert dealt[0].tolist() == [1.0] * 30 + [0.0] * 30
    assert set(dealt.sum(1)) == {30.0}


def test_permuting_in_runs_keeps_neighbors_together():
    def together(run: int) -> float:
        dealt = permute_windows(blocks(60, run=run), 400)[1:]
        return float((dealt[:, 1:] == dealt[:, :-1]).mean())

    assert together(1) == pytest.approx(29 / 59, abs=0.01)
    assert together(7) > 0.9


def test_every_day_is_equally_often_in_the_first_window():
    shares = permute_windows(blocks(60), 4000)[1:].mean(0)
    assert np.abs(shares - 0.5).max() < 0.05


def test_runs_grow_with_the_windows_so_that_they_are_least_dependent():
    assert [blocks(count).run for count in (60, 112, 365)] == [7, 14, 42]
    assert 365 // blocks(365).run >= MIN_RUNS


def test_independent_groups_are_never_joined_into_runs():
    assert blocks(365, run=1).run == 1


@pytest.mark.slow
@pytest.mark.parametrize(("count", "first"), [(56, 28), (60, 30), (61, 40)])
def test_the_smallest_p_value_is_the_probability_of_the_observed_windows(count, first):
    rows, day = days(np.random.default_rng(0), count=count, rows=1)
    few = make_blocks(windows_of(rows, day, day < first))
    dealt = permute_windows(few, 60_000)
    assert (dealt[1:] == dealt[0]).all(1).mean() == pytest.approx(few.min_p, rel=0.25)


def test_another_seed_gives_other_permutations_and_the_observed_first():
    one, other = (permute_windows(blocks(60), 20, seed=seed) for seed in (0, 1))
    assert (one[0] == other[0]).all() and not (one[1:] == other[1:]).all()


def test_very_many_groups_become_fewer_blocks_within_their_window():
    found = blocks(5000, run=7)
    assert MAX_BLOCKS - 2 <= found.count <= MAX_BLOCKS
    assert (np.diff(found.codes) >= 0).all() and found.codes[2500] == found.first
    assert (found.pattern, found.n_groups) == (1, (2500, 2500))


def test_gaps_in_the_numbers_of_groups_do_not_matter():
    rows, day = days(np.random.default_rng(0), rows=2)
    found = make_blocks(windows_of(rows, day * 3 + 5, day < 30))
    assert found.codes.tolist() == day.tolist()
    assert found.numbers.tolist() == (np.arange(60) * 3 + 5).tolist()


@pytest.mark.parametrize(("count", "run"), [(19, 1), (55, 7)])
def test_too_few_groups_raise_not_applicable(count, run):
    with pytest.raises(NotApplicable, match="too few"):
        blocks(count, run=run)


def test_one_group_against_many_raises_not_applicable():
    rows, day = days(np.random.default_rng(0), rows=2)
    with pytest.raises(NotApplicable, match="1 and 59 groups"):
        make_blocks(windows_of(rows, day, day < 1))
