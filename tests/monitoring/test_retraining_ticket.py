"""A ticket is opened for rows that grew or calibration that is shown to fail, and never twice."""

from __future__ import annotations

import sys

import pytest
from msgspec.structs import replace

from headway.core.config import load
from headway.core.errors import ConfigError
from headway.core.evidence import Measurement
from headway.core.monitoring import BrokenInput, Ticket
from headway.core.record import read, write
from headway.monitoring.settings.retrain import RetrainSection
from headway.monitoring.status import propose_retraining, with_broken_inputs

POLICY = RetrainSection()


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


def propose(policy: RetrainSection = POLICY, **changed):
    """Return the ticket of a release whose labeled rows grew by slightly less than half."""
    inputs = {"name": "flights", "release": "sha256:1", "rows_trained": 1000, "rows_labeled": 1499, "at": "2013-09-01"}
    return propose_retraining(policy, **{**inputs, **changed})


def test_nothing_is_proposed_without_a_reason():
    assert propose() is None


def test_rows_grown_by_half_open_a_ticket():
    ticket = propose(rows_labeled=1500, evidence=("sha256:2",))
    assert (ticket.reasons, ticket.release, ticket.evidence) == (("rows",), "sha256:1", ("sha256:2",))
    assert ticket.why == "labeled rows grew by 50%, from 1,000 to 1,500"


def test_a_ticket_keeps_the_time_of_the_clock_at_which_it_was_opened():
    opened = propose(rows_labeled=1500, opened_at="2026-12-02T09:00:00+00:00")
    assert (opened.at, opened.opened_at) == ("2013-09-01", "2026-12-02T09:00:00+00:00")
    later = {"pending": opened, "expected_loss": measurement("loss", 1.0), "at": "2013-11-02", "until": "2013-11-01"}
    assert propose(rows_labeled=2000, opened_at="2026-12-03T09:00:00+00:00", **later).opened_at == opened.opened_at


def test_calibration_that_is_shown_to_fail_opens_a_ticket():
    failed = propose(calibration=measurement("ece", 0.08), calibration_failed=True)
    assert failed.reasons == ("calibration",)
    assert "0.080 [0.060, 0.100] on 27,000 rows of 30 groups, shown to be above 0.05" in failed.why
    assert propose(calibration=measurement("ece", 0.08)) is None


def test_each_judged_period_updates_the_cost_of_an_open_ticket():
    opened = propose(rows_labeled=2000, expected_loss=measurement("loss", 100.0), price_s=36.0, until="2013-09-01")
    october = {"pending": opened, "at": "2013-11-02", "until": "2013-11-01"}
    costly = propose(
        replace(POLICY, hour_costs=36000.0), expected_loss=measurement("loss", 900.0), price_s=36.0, **october
    )
    assert (costly.at, costly.priced_until, costly.reasons) == ("2013-09-01", "2013-11-01", ("rows",))
    assert (costly.expected_loss.value, costly.pays) == (900.0, True)
    assert "cost 900 [900, 900] a month more" in costly.why
    assert propose(expected_loss=measurement("loss", 1.0), **{**october, "pending": costly}) is None  # priced already


def test_a_renewed_ticket_gains_the_reason_that_a_later_period_gives():
    opened = propose(rows_labeled=2000)
    failed = {"calibration": measurement("ece", 0.2), "calibration_failed": True}
    renewed = propose(expected_loss=measurement("loss", 1.0), pending=opened, until="2013-11-01", **failed)
    assert renewed.reasons == ("rows", "calibration") and "shown to be above 0.05" in renewed.why


def test_a_pending_ticket_is_not_opened_again_but_a_new_release_may_have_one():
    pending = propose(rows_labeled=2000)
    assert propose(rows_labeled=2000, pending=pending) is None
    assert propose(rows_labeled=2000, release="sha256:3", pending=pending) is not None


@pytest.mark.parametrize(("hour_costs", "pays"), [(0.0, True), (3600.0, True), (36000.0, False)])
def test_the_ticket_compares_the_loss_of_a_month_with_the_cost_of_a_training(hour_costs, pays):
    loss = measurement("retrain.expected_loss", 100.0)
    ticket = propose(replace(POLICY, hour_costs=hour_costs), rows_labeled=2000, expected_loss=loss, price_s=30.0)
    assert ticket.pays is pays
    assert "cost 100 [100, 100] a month more" in ticket.why and "a training takes about 30 s" in ticket.why


def test_the_ticket_gives_no_interval_that_says_nothing():
    ticket = propose(rows_labeled=2000, expected_loss=measurement("retrain.expected_loss", 100.0, se=1e307))
    assert "estimated to cost 100 (its interval is not known) a month more" in ticket.why


def test_the_ticket_reports_a_month_that_is_shown_to_cost_less():
    ticket = propose(rows_labeled=2000, expected_loss=measurement("retrain.expected_loss", -100.0, se=20))
    assert "estimated to cost 100 [60, 140] a month less than when it was judged" in ticket.why


def test_the_ticket_does_not_claim_that_training_pays_without_a_measured_loss():
    ticket = propose(rows_labeled=2000, price_s=30.0)
    assert (ticket.pays, ticket.expected_loss) == (None, None)


def test_only_the_mode_auto_acts():
    acts = [propose(replace(POLICY, mode=mode), rows_labeled=2000).acts for mode in ("suggest", "auto")]
    assert acts == [False, True]


def test_a_ticket_read_from_disk_equals_the_saved_one():
    ticket = propose(rows_labeled=2000, calibration=measurement("ece", 0.2), calibration_failed=True)
    assert read(Ticket, write(ticket)) == ticket


def test_an_unknown_mode_is_rejected(tmp_path):
    (tmp_path / "headway.toml").write_text('[retrain]\nmode = "always"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="suggest"):
        load(tmp_path, environment={})


def test_a_ticket_of_an_earlier_version_is_read_without_an_interval_of_309_digits():
    end = f"{sys.float_info.max:,.0f}"
    cost = f"it is estimated to cost −17 [−{end}, {end}] a month more; training takes 12 s [11, 13]"
    content = write(Ticket(name="small", release="sha256:0", reasons=("rows",), why=cost))

    ticket = read(Ticket, content.replace(b'"version":3', b'"version":2'))

    assert ticket.why == "it is estimated to cost −17 a month more; training takes 12 s [11, 13]"


BROKEN = (BrokenInput(column="hour", days=("2013-06-01", "2013-06-02"), message="hour is out of its range"),)


def test_calibration_that_fails_on_a_broken_input_asks_for_the_repair_of_its_feed():
    ticket = propose(calibration=measurement("ece", 0.08), calibration_failed=True, broken=BROKEN)
    assert ticket.reasons == ("inputs",)
    assert ticket.message.startswith("repair the feed of hour, out of range on 2 days from 2013-06-01; the calibration")


def test_a_repaired_feed_stops_being_a_reason_and_closes_a_ticket_without_another():
    both = propose(rows_labeled=2000, calibration=measurement("ece", 0.08), calibration_failed=True, broken=BROKEN)
    assert with_broken_inputs(both, ()).reasons == ("rows",) and both.is_open("sha256:1")
    alone = propose(calibration=measurement("ece", 0.08), calibration_failed=True, broken=BROKEN)
    assert not with_broken_inputs(alone, ()).is_open("sha256:1")
    assert with_broken_inputs(alone, BROKEN) == alone
