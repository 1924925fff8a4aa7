from __future__ import annotations

from tests.data.tables import split_context, wide, with_column

from headway.data.checks.split.chosen_on_test import plugin


def test_a_small_test_gets_a_note_on_the_correlation_of_noise_columns():
    [finding] = plugin(split_context(wide(1000)))

    assert (finding.severity, finding.where) == ("note", "[split] test")
    assert "over 200 rows the best of as many noise columns correlates with the target by up to 0.14" in (
        finding.message
    )


def test_dependent_rows_count_as_one():
    grouped = with_column(wide(20_000, groups="shift"), shift=[row // 20 for row in range(20_000)])

    assert plugin(split_context(wide(20_000))) == []
    assert "over 200 groups" in plugin(split_context(grouped))[0].message
