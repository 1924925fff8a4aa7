from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.data.labels.poisoned_tables import clean, dataset, flipped
from tests.data.tables import wide

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.checks.labels.influential_groups import plugin
from headway.data.context import CheckContext


def warnings(table: pl.DataFrame) -> list[Finding]:
    return [finding for finding in plugin(CheckContext(dataset=dataset(table))) if finding.severity == "warn"]


@pytest.mark.slow
def test_a_source_with_flipped_labels_is_found():
    (finding,) = warnings(flipped(clean(), pl.col("source") == "s17"))
    assert finding.where == "source = s17"
    assert "deviations" in finding.message


@pytest.mark.slow
def test_a_second_such_source_does_not_hide_the_first():
    found = warnings(flipped(clean(), pl.col("source").is_in(["s17", "s42"])))
    assert "source = s17" in {finding.where for finding in found}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_sources_that_differ_by_chance_have_no_finding(seed):
    assert warnings(clean(seed)) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", [17, 26, 31])
def test_a_clean_day_with_rare_values_has_no_finding(seed):
    """Ranges of a column that rises from day to day hold few days finding, so that one day moves a model far."""
    draw = np.random.default_rng(seed)
    day = np.repeat(np.arange(60), 60)
    hour, wind = draw.integers(0, 24, len(day)), draw.gamma(2.0, 5.0, len(day))
    carrier, storm = draw.choice(["AA", "B6", "UA"], len(day)), draw.normal(0, 0.5, 60)[day]
    columns = {"day": day, "hour": hour, "wind": wind, "carrier": carrier, "age": day + draw.normal(0, 1, len(day))}
    late = draw.random(len(day)) < 1 / (1 + np.exp(3.5 - hour / 8 - wind / 15 - storm))
    table = pl.DataFrame({**columns, "late": late.astype(np.int8)})
    assert (
        plugin(CheckContext(dataset=Dataset(name="rising", table=table, roles=Roles(target="late", groups="day"))))
        == []
    )


@pytest.mark.slow
def test_a_day_with_flipped_labels_is_found_with_the_probability_by_chance():
    table = flipped(clean(), pl.col("day") == 17)
    (finding,) = plugin(
        CheckContext(dataset=Dataset(name="day", table=table, roles=Roles(target="label", groups="day")))
    )
    assert finding.where == "day = 17"
    assert "0.5% of tables at most" in finding.message


def test_sources_that_are_too_large_are_named():
    table = clean().with_columns(
        source=pl.when(pl.col("source").str.len_chars() < 3).then(pl.lit("s0")).otherwise("source")
    )
    (finding,) = plugin(CheckContext(dataset=dataset(table)))
    assert (finding.severity, finding.where) == ("note", "columns source")
    assert "of 41 values of 'source' are not judged: each has more than 2% of the rows" in finding.message


def test_it_cannot_judge_sources_that_are_all_too_large():
    table = clean().with_columns(source=pl.col("kind"), day=pl.col("day") % 12)
    with pytest.raises(
        NotApplicable, match="0 of 5 values of 'source' have 20 rows to 2% of the rows, and 5 have more"
    ):
        plugin(CheckContext(dataset=dataset(table)))


def test_it_cannot_judge_without_groups_or_slices():
    with pytest.raises(NotApplicable, match="no groups, slices or sensitive features"):
        plugin(CheckContext(dataset=wide()))
