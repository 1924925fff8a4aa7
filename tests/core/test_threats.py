"""Records of threats: who can reach a model, when an assessment is over, and when an accepted risk ends."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.exposure import exposure_of, is_reachable
from headway.core.record import digest_of, write
from headway.core.threats import (
    CATALOGUE_VERSION,
    AcceptedRisk,
    RequirementCoverage,
    ThreatAssessment,
    accepted_risks,
    exposure_digest,
    reopen_reasons,
)
from headway.evaluation.settings.answer import AnswerSection, RemoteStage
from headway.monitoring.settings.support import MailServer, SupportSection
from headway.serving.settings.serve import ServeSection

NOW = datetime(2026, 11, 29, tzinfo=UTC)
GAP = RequirementCoverage(id="AML.T0015", standard="MITRE ATLAS", topic="evasion", level=1, title="", coverage="gap")
MADE = ThreatAssessment(
    name="flights",
    at="2026-11-01T00:00:00+00:00",
    by="ada",
    headway="0.1.0",
    number=1,
    catalogue=CATALOGUE_VERSION,
    requirements=(GAP, replace(GAP, id="ML01:2023", level=3), replace(GAP, id="ML02:2023", coverage="covered")),
    release="sha256:a",
    data={"test": "sha256:t"},
    exposure={"serve.host": "this machine"},
    due="2027-01-30",
)


@pytest.mark.parametrize(
    ("host", "reachable"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("ml.example", True), ("", True)],
)
def test_an_address_of_this_machine_is_not_reachable(host, reachable):
    assert is_reachable(host) is reachable


def test_the_exposure_names_what_others_can_reach_and_no_content_of_files(tmp_path):
    config = Config(folder=str(tmp_path))
    assert exposure_of(config) == {
        "serve.host": "this machine",
        "serve.grpc_port": "none",
        "ui.host": "this machine",
    }
    (tmp_path / "keys.toml").write_text("[ada]\n")
    remote = RemoteStage(url="https://llm.example/v1")
    mail = SupportSection(smtp_port=2525, listen="0.0.0.0", imap=MailServer(server="mail.example"))
    open_ = config.having(
        ServeSection(host="0.0.0.0", grpc_port=0, tls_certificate="server.pem", tls_client_ca="ca.pem"),
        AnswerSection(remote=remote),
        mail,
    )
    found = exposure_of(open_)
    assert found.pop("serve.keys").startswith("sha256:")
    assert found == {
        "serve.host": "0.0.0.0",
        "serve.grpc_port": "open",
        "serve.tls_certificate": "set",
        "serve.tls_client_ca": "set",
        "ui.host": "this machine",
        "answer.remote": "https://llm.example/v1",
        "support.listen": "0.0.0.0, mail.example",
    }
    inside = config.having(SupportSection(webhook_port=0), ServeSection(without_keys=True))
    assert exposure_of(inside)["support.listen"] == "this machine"
    assert exposure_of(inside)["serve.without_keys"] == "true"


def reasons(**changes: object) -> tuple[str, ...]:
    now = {"release": "sha256:a", "exposure": MADE.exposure, "now": NOW, "data": MADE.data}
    return reopen_reasons(MADE, **{**now, **changes})


def test_an_assessment_is_over_when_what_it_rests_on_changes_or_its_time_ends():
    assert reasons() == reasons(data=None) == ()
    assert reasons(release="sha256:b") == ("model",)
    assert reasons(data={"test": "sha256:u"}) == ("data",)
    assert reasons(exposure={}) == ("exposure",)
    assert reasons(now=datetime(2027, 1, 30, 23, tzinfo=UTC)) == ()
    assert reasons(now=datetime(2027, 1, 31, tzinfo=UTC)) == ("time",)
    other = replace(MADE, catalogue="2020.01")
    assert reopen_reasons(other, release="sha256:a", exposure=MADE.exposure, now=NOW) == ("catalogue",)


def test_an_accepted_risk_holds_to_its_last_day_and_for_its_exposure_only():
    exposure = exposure_digest(MADE.exposure)
    risk = AcceptedRisk(
        name="flights",
        requirement="AML.T0015",
        who="ada",
        reason="one caller",
        at="",
        until="2026-11-29",
        exposure=exposure,
    )
    assert risk.holds(exposure=exposure, now=NOW)
    assert not risk.holds(exposure=exposure, now=datetime(2026, 11, 30, tzinfo=UTC))
    assert not risk.holds(exposure=exposure_digest({}), now=NOW)
    assert not replace(risk, is_withdrawn=True).holds(exposure=exposure, now=NOW)


def test_the_last_record_of_a_requirement_says_whether_its_risk_is_accepted():
    exposure = {"serve.host": "127.0.0.1"}
    common = {"name": "flights", "who": "ada", "reason": "a test", "at": "2026-11-29", "until": "2026-12-31"}
    first, other = (
        AcceptedRisk(requirement=id, exposure=exposure_digest(exposure), **common) for id in ("ML01", "ML02")
    )
    longer = replace(first, until="2027-01-31")
    accepted = accepted_risks([first, other, longer, replace(other, is_withdrawn=True)], exposure=exposure, now=NOW)
    assert accepted == {"ML01": (digest_of(write(longer)), longer)}
    assert not accepted_risks([first], exposure={}, now=NOW)


def test_gaps_are_counted_by_level_and_accepted_ones_are_not_open():
    assert (MADE.count("gap"), MADE.count("gap", level=1), MADE.count("covered")) == (2, 1, 1)
    assert [row.id for row in MADE.open_gaps(level=2)] == ["AML.T0015"]
    accepted = replace(MADE, requirements=(replace(GAP, accepted="sha256:risk"),))
    assert accepted.open_gaps() == []
