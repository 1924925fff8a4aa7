"""`watch` on three real tables: it reports no change where nothing can drift, and the real one where the world changed.

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


def year_without_change(folder: Path, shuffle: int) -> list[MonitoringReport]:
    """Return the reports on the months of a year in which nothing changed."""
    return pipeline.watch(released(folder, caravans(shuffle), "caravan", toml=STRICT))


def claims(found: list[MonitoringReport]) -> list[str]:
    """Return the messages that report a change or a degradation."""
    return [report.message for report in found if report.status not in ("healthy", "unknown") or report.ticket]


@pytest.mark.parametrize("shuffle", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2, 3))])
def test_shuffled_households_have_a_year_without_alarm_degradation_or_ticket(tmp_path, shuffle):
    found = year_without_change(tmp_path, shuffle)

    assert len(found) == PERIODS and claims(found) == []
    assert all("no drift of the inputs is shown" in report.message for report in found)
    assert all([reply.question for reply in report.answers] == ["drift", "degradation"] for report in found)


@pytest.mark.long
def test_at_most_five_of_a_hundred_years_without_change_have_a_false_alarm(tmp_path_factory):
    """The exact binomial: so many false years, or more, must not be rare where the true rate is 5 %."""
    years = [year_without_change(tmp_path_factory.mktemp("caravan"), shuffle) for shuffle in range(SHUFFLES)]
    false = sum(bool(claims(found)) for found in years)
    at_least = sum(comb(SHUFFLES, n) * 0.05**n * 0.95 ** (SHUFFLES - n) for n in range(false, SHUFFLES + 1))

    assert at_least > 0.05, f"{false} of {SHUFFLES} years without a change have a false sentence"


def test_the_crisis_years_are_degraded_and_the_year_before_is_healthy(tmp_path):
    table = weeks()
    found = pipeline.watch(released(tmp_path, table, "weeks", begins=CALM, toml=STRICT), every="1y")
    rate = {year: part["target"].mean() for (year,), part in table.group_by(pl.col("day").dt.year())}
    calm = np.mean([rate[year] for year in range(2003, 2007)])

    assert [report.period for report in found] == ["2007-01-01", "2008-01-01", "2009-01-01", "2010-01-01"]
    assert [report.drift.alarm for report in found] == [False, True, True, True]  # moves stay larger in 2010
    assert [report.status for report in found[1:3]] == ["degraded", "degraded"]
    assert found[0].status in ("healthy", "unknown")  # 52 weeks may leave a large degradation possible
    for report, year in zip(found, range(2007, 2011), strict=True):
        answer = report.reply("degradation")
        assert "cost" in (answer.shown + answer.not_excluded) if rate[year] > 2 * calm else "cost" not in answer.shown
        assert (
            "probabilities are off" not in report.message and "ranks worse" not in report.message
        )  # 52 weeks are not enough


@pytest.fixture(scope="module")
def bicycles(tmp_path_factory) -> list[MonitoringReport]:
    """Reports on June to December, for a model that was trained in winter and judged in April and May."""
    return pipeline.watch(released(tmp_path_factory.mktemp("bikes"), bikes(), "bikes"))


def test_bicycle_features_reported_as_moved_differ_in_the_table(bicycles):
    table = bikes().with_columns(weathersit=(pl.col("weathersit") == "clear").cast(pl.Float64))
    months = {f"2011-{number:02}": table.filter(pl.col("day").dt.month() == number) for number in range(6, 13)}
    judged = table.filter(pl.col("day").dt.month().is_in([4, 5]))

    assert [report.period for report in bicycles] == list(months) and "temp moved" in bicycles[0].message
    for report in bicycles:
        for feature in (finding.where for finding in report.drift.findings if finding.where != "all"):
            before, after = (
                part.group_by("day").agg(pl.col(feature).mean(), spread=pl.col(feature).std())
                for part in (judged, months[report.period])
            )
            apart = [
                abs(before[column].mean() - after[column].mean())
                / np.hypot(before[column].std() / np.sqrt(len(before)), after[column].std() / np.sqrt(len(after)))
                for column in (feature, "spread")
            ]
            assert max(apart) > 2, f"{feature} in {report.period}"


def test_seasons_break_the_calibration_of_the_bicycle_model_but_not_its_ranking(bicycles):
    for report in bicycles:
        assert report.find("roc_auc").value > 0.9 and "ranks worse" not in report.message
        assert ("probabilities are off" in report.message) == (report.find("ece").low > 0.1)
    assert next(report.period for report in bicycles if report.ticket) == "2011-06"
    assert bicycles[0].status == "degraded"
