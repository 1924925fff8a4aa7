"""What a watch says of a live release, on a world that stays and on one that turns."""

from __future__ import annotations

from datetime import datetime

import pytest
from tests.flow import projects, watched

from headway import flow
from headway.core.errors import ConfigError, StoreError
from headway.core.record import read
from headway.core.ticket import Ticket
from headway.core.watch import Watch
from headway.release.project import open_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stays(tmp_path_factory):
    """A project whose world stays as it was; only labelled rows grow."""
    return watched.released(watched.write(tmp_path_factory.mktemp("stays")))


@pytest.fixture(scope="module")
def turns(tmp_path_factory):
    """A project whose world turned in April."""
    return watched.released(watched.write(tmp_path_factory.mktemp("turns"), table=watched.turned()))


def test_a_world_that_stays_is_well_and_nothing_is_told_of_drift(stays):
    (april,) = flow.watch(stays)

    assert (april.period, april.outlook, april.n_rows, april.n_labelled) == ("2013-04", "well", 1800, 1800)
    assert not april.drift.alarm and april.harms == ()
    assert "the inputs look as they did" in april.says and "not shown to be worse" in april.says


def test_a_world_that_turned_is_worse_with_what_moved_and_what_it_costs(turns):
    (april,) = flow.watch(turns)

    assert april.outlook == "worse" and april.drift.alarm
    assert "most of all hour" in april.says and "ranks worse" in april.says
    assert april.find("roc_auc.change").high < 0 < april.cost.low
    assert {each.slice for each in april.harms} == {"hour", "wind", "carrier"}


def test_quality_has_an_interval_by_day_and_an_estimate_made_before_labels(stays):
    (april,) = flow.watch(stays)

    assert {each.name for each in april.quality} == {"roc_auc", "brier", "ece", "base_rate"}
    assert all(each.low < each.value < each.high and each.n_groups == 30 for each in april.quality)
    assert april.find("roc_auc.estimated").low < april.find("roc_auc").value < april.find("roc_auc.estimated").high


def test_the_policy_opens_one_ticket_with_its_price_and_its_evidence(turns):
    opened = [each.ticket for each in flow.watch(turns) if each.ticket]
    ticket = flow.ticket_of(turns)
    kept = turns.state.kept("ticket", name="small")

    assert (opened in ([], [ticket])) and len(kept) == 1
    assert ticket.reasons == ("rows", "calibration") and ticket.price_s > 0 and ticket.expected_loss.low > 0
    assert turns.state.kept("evidence", digest=ticket.evidence[0])
    assert read(Ticket, kept[0]) == ticket


def test_an_open_ticket_is_told_and_not_opened_again(turns):
    flow.watch(turns)
    (april,) = flow.watch(turns)

    assert april.ticket is None and "a ticket to train it anew is open" in april.says


def test_labels_that_had_not_come_are_not_used(tmp_path):
    later = watched.TOML.replace("[data]\n", '[data]\nlabel_delay = "40d"\n')
    folder = watched.write(tmp_path)
    (folder / "headway.toml").write_text(later + watched.RETRAIN)
    (april,) = flow.watch(watched.released(folder), until=datetime(2013, 5, 1))

    assert (april.n_rows, april.n_labelled, april.quality, april.cost, april.ticket) == (1800, 0, (), None, None)
    assert "no label has come yet" in april.says


def test_a_period_that_has_only_begun_is_left_for_later(stays):
    assert flow.watch(stays, until=datetime(2013, 4, 10)) == []
    assert [each.period for each in flow.watch(stays, until=datetime(2013, 4, 25))] == ["2013-04"]


def test_periods_may_be_weeks_and_a_part_that_cannot_be_said_says_why(stays):
    weeks = flow.watch(stays, every="1w")

    assert len(weeks) >= 4
    assert all(each.code == "O002" for week in weeks for each in week.unknown)


def test_a_length_that_there_is_not_is_an_error(stays):
    with pytest.raises(ConfigError, match="'month' is no length of a period"):
        flow.watch(stays, every="month")


def test_without_a_live_release_there_is_nothing_to_watch(tmp_path):
    with pytest.raises(StoreError, match="no pointer small@live"):
        flow.watch(open_project(projects.write(tmp_path)))


def test_what_was_seen_is_kept(stays):
    found = flow.watch(stays)

    assert read(Watch, stays.state.latest("watch", name="small")) in [*found, *flow.watch(stays)]
