"""`watch` on three real tables: where nothing can drift it tells no story, where the world changed it tells that one.

The households of Caravan lie in random order, dealt to the days of a year; the weeks of the S&P 500 have their crisis
in 2008 and 2009; the bicycles of Washington have their seasons.
"""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.monitoring.real_tables import CALM, TOML, bikes, caravans, released, weeks

from headway import pipeline
from headway.core.monitoring import MonitoringReport

pytestmark = pytest.mark.slow
STRICT = TOML.replace("ece_at_most = 0.1", "")  # the limit of 5 % that headway has by itself
PERIODS, SHUFFLES = 7, 60


def story(folder: Path, shuffle: int) -> list[MonitoringReport]:
    """The months of a year in which nothing changed."""
    return pipeline.watch(released(folder, caravans(shuffle), "caravan", toml=STRICT))


def claims(found: list[MonitoringReport]) -> list[str]:
    """The sentences that say that something changed, or is not as it should be."""
    return [each.message for each in found if each.status not in ("healthy", "unknown") or each.ticket]


@pytest.mark.parametrize("shuffle", [0, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 2, 3))])
def test_households_in_random_order_have_a_year_without_an_alarm_a_claim_or_a_ticket(tmp_path, shuffle):
    found = story(tmp_path, shuffle)

    assert len(found) == PERIODS and claims(found) == []
    assert all("no drift of the inputs is shown" in each.message for each in found)
    assert all([reply.question for reply in each.answers] == ["drift", "degradation"] for each in found)


@pytest.mark.long
def test_of_many_years_in_which_nothing_changed_at_most_five_of_a_hundred_have_a_false_sentence(tmp_path_factory):
    """The exact binomial: so many false years, or more, must not be rare where the true rate is 5 %."""
    stories = [story(tmp_path_factory.mktemp("caravan"), shuffle) for shuffle in range(SHUFFLES)]
    false = sum(bool(claims(found)) for found in stories)
    at_least = sum(comb(SHUFFLES, n) * 0.05**n * 0.95 ** (SHUFFLES - n) for n in range(false, SHUFFLES + 1))

    assert at_least > 0.05, f"{false} of {SHUFFLES} years without a change have a false sentence"


def test_the_crisis_is_told_in_its_years_and_the_calm_year_before_is_well(tmp_path):
    table = weeks()
    found = pipeline.watch(released(tmp_path, table, "weeks", begins=CALM, toml=STRICT), every="1y")
    rate = {year: part["target"].mean() for (year,), part in table.group_by(pl.col("day").dt.year())}
    calm = np.mean([rate[year] for year in range(2003, 2007)])

    assert [each.period for each in found] == ["2007-01-01", "2008-01-01", "2009-01-01", "2010-01-01"]
    assert [each.drift.alarm for each in found] == [False, True, True, False]
    assert [each.status for each in found[:3]] == ["healthy", "degraded", "degraded"]
    for each, year in zip(found, range(2007, 2011), strict=True):
        assert ("its decisions cost" in each.message) == (rate[year] > 2 * calm)
        assert "probabilities are off" not in each.message and "ranks worse" not in each.message  # 52 weeks cannot tell


@pytest.fixture(scope="module")
def bicycles(tmp_path_factory) -> list[MonitoringReport]:
    """What is told of June to December, of a model that learned in winter and was judged in April and May."""
    return pipeline.watch(released(tmp_path_factory.mktemp("bikes"), bikes(), "bikes"))


def test_features_of_the_bicycles_that_are_said_to_have_moved_have_other_days_in_the_table(bicycles):
    table = bikes().with_columns(weathersit=(pl.col("weathersit") == "clear").cast(pl.Float64))
    months = {f"2011-{number:02}": table.filter(pl.col("day").dt.month() == number) for number in range(6, 13)}
    judged = table.filter(pl.col("day").dt.month().is_in([4, 5]))

    assert [each.period for each in bicycles] == list(months) and "temp moved" in bicycles[0].message
    for each in bicycles:
        for feature in (finding.where for finding in each.drift.findings if finding.where != "all"):
            before, after = (
                part.group_by("day").agg(pl.col(feature).mean(), spread=pl.col(feature).std())
                for part in (judged, months[each.period])
            )
            apart = [
                abs(before[column].mean() - after[column].mean())
                / np.hypot(before[column].std() / np.sqrt(len(before)), after[column].std() / np.sqrt(len(after)))
                for column in (feature, "spread")
            ]
            assert max(apart) > 2, f"{feature} in {each.period}"


def test_the_seasons_put_the_probabilities_of_the_bicycles_off_and_do_not_hurt_their_order(bicycles):
    for each in bicycles:
        assert each.find("roc_auc").value > 0.9 and "ranks worse" not in each.message
        assert ("probabilities are off" in each.message) == (each.find("ece").low > 0.1)
    assert [each.period for each in bicycles if each.ticket] == ["2011-06"]
    assert bicycles[0].status == "degraded"
