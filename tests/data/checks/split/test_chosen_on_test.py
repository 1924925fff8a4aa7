from __future__ import annotations

from tests.data.tables import surveyed, wide, with_column

from headway.data.checks.split.chosen_on_test import plugin


def test_a_small_test_says_how_far_the_best_of_its_columns_may_be_noise():
    [finding] = plugin(surveyed(wide(1000)))

    assert (finding.severity, finding.where) == ("note", "[split] test")
    assert "over 200 rows the best of as many noise columns correlates with the target by up to 0.14" in (
        finding.message
    )


def test_rows_that_share_fate_count_as_one():
    grouped = with_column(wide(20_000, groups="shift"), shift=[row // 20 for row in range(20_000)])

    assert plugin(surveyed(wide(20_000))) == []
    assert "over 200 groups" in plugin(surveyed(grouped))[0].message
