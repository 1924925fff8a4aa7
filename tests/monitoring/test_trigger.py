"""When a ticket is opened: for rows that grew, or for calibration that is shown to fail; never twice."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from headway.core.config import load
from headway.core.errors import ConfigError
from headway.core.evidence import Measurement
from headway.core.record import read, write
from headway.core.sections.retrain import RetrainSection
from headway.core.ticket import Ticket
from headway.monitoring.trigger import RetrainingInputs, propose_retraining

POLICY = RetrainSection()
QUIET = RetrainingInputs(name="flights", release="sha256:1", rows_trained=1000, rows_labeled=1499, at="2013-09-01")


def measurement(name: str, value: float, *, se: float = 0.01) -> Measurement:
    return Measurement(
        name=name,
        value=value,
        low=value - 2 * se,
        high=value + 2 * se,
        method="test",
        n_rows=27000,
        n_groups=30,
        se=se,
        dof=29,
    )


def test_nothing_is_proposed_without_a_reason():
    assert propose_retraining(QUIET, POLICY) is None


def test_rows_grown_by_half_open_a_ticket():
    ticket = propose_retraining(replace(QUIET, rows_labeled=1500, evidence=("sha256:2",)), POLICY)
    assert (ticket.reasons, ticket.release, ticket.evidence) == (("rows",), "sha256:1", ("sha256:2",))
    assert ticket.why == "labeled rows grew by 50%, from 1,000 to 1,500"


def test_calibration_that_is_shown_to_be_off_opens_a_ticket():
    failed = propose_retraining(replace(QUIET, calibration=measurement("ece", 0.08), off=True), POLICY)
    assert failed.reasons == ("calibration",)
    assert "0.080 [0.060, 0.100] on 27,000 rows of 30 groups, shown to be above 0.05" in failed.why
    assert propose_retraining(replace(QUIET, calibration=measurement("ece", 0.08)), POLICY) is None


def test_a_ticket_that_is_pending_is_not_opened_again_but_a_new_release_may_have_one():
    grown = replace(QUIET, rows_labeled=2000)
    pending = propose_retraining(grown, POLICY)
    assert propose_retraining(grown, POLICY, pending=pending) is None
    assert propose_retraining(replace(grown, release="sha256:3"), POLICY, pending=pending) is not None


@pytest.mark.parametrize(("hour_costs", "pays"), [(0.0, True), (3600.0, True), (36000.0, False)])
def test_the_ticket_says_whether_the_loss_of_a_month_pays_for_a_training(hour_costs, pays):
    situation = replace(
        QUIET, rows_labeled=2000, expected_loss=measurement("retrain.expected_loss", 100.0), price_s=30.0
    )
    ticket = propose_retraining(situation, replace(POLICY, hour_costs=hour_costs))
    assert ticket.pays is pays
    assert "cost 100 [100, 100] a month more" in ticket.why and "a training takes about 30 s" in ticket.why


def test_a_month_that_costs_less_for_sure_is_told_so():
    cheaper = measurement("retrain.expected_loss", -100.0, se=20)
    ticket = propose_retraining(replace(QUIET, rows_labeled=2000, expected_loss=cheaper), POLICY)
    assert "estimated to cost 100 [60, 140] a month less than when it was judged" in ticket.why


def test_what_was_not_measured_is_not_said_to_pay():
    ticket = propose_retraining(replace(QUIET, rows_labeled=2000, price_s=30.0), POLICY)
    assert (ticket.pays, ticket.expected_loss) == (None, None)


def test_only_auto_acts():
    grown = replace(QUIET, rows_labeled=2000)
    assert [propose_retraining(grown, replace(POLICY, mode=mode)).acts for mode in ("suggest", "auto")] == [False, True]


def test_a_ticket_comes_back_from_disk_as_it_was():
    ticket = propose_retraining(
        replace(QUIET, rows_labeled=2000, calibration=measurement("ece", 0.2), off=True), POLICY
    )
    assert read(Ticket, write(ticket)) == ticket


def test_a_mode_that_there_is_not_is_refused(tmp_path):
    (tmp_path / "headway.toml").write_text('[retrain]\nmode = "always"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="suggest"):
        load(tmp_path, environment={})
