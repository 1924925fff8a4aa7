"""`headway threats`: tables, exit codes for CI, accepted risks, the task of the schedule, and the line of `status`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.cli.main import main
from headway.core.evidence import Evidence, Measurement
from headway.core.threads import this_machine
from headway.core.threats import ThreatAssessment
from headway.monitoring.task_runs import last_run
from headway.registry.project import Project

ACCEPT = ("accept", "AML.T0024.002", "--until", "90d", "--reason", "one caller", "--who", "ada")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    opened = rollouts.project(tmp_path)
    yield opened
    opened.state.close()


def run(project: Project, *arguments: str, command: str = "threats") -> int:
    with pytest.raises(SystemExit) as ended:
        main([command, "--project", str(project.config.folder), *arguments])
    return int(ended.value.code)


def test_without_a_release_nothing_is_judged_and_the_next_step_is_a_release(project, capsys):
    assert run(project) == 3
    printed = capsys.readouterr().out
    assert "Can a caller fool it?" in printed
    assert printed.rstrip().endswith("next: headway release")


def test_required_requirements_and_levels_decide_on_the_exit_code(project, capsys):
    rollouts.live(project, rollouts.release())
    assert run(project) == 1
    assert run(project, "--require", "aml.m0013", "--require", "AML.M0014") == 0
    assert run(project, "--require", "AML.T0024.002") == 1
    printed = capsys.readouterr().out
    assert "next: headway optimize" in printed  # no search found this release, so no evaluation measures it
    assert run(project, *ACCEPT) == 0
    assert run(project, "--require", "AML.T0024.002") == 0
    until = (datetime.now(UTC) + timedelta(days=90)).date()
    assert f"accepted until {until} by ada" in capsys.readouterr().out


def test_all_requirements_are_listed_with_their_evidence_as_text_and_as_json(project, capsys):
    rollouts.live(project, rollouts.release())
    run(project, "--all")
    printed = capsys.readouterr().out
    assert "the live release verifies, signed by" in printed
    assert "no remote stage" in printed
    run(project, "--json")
    found = json.loads(capsys.readouterr().out)
    rows = {row["id"]: row for row in found["now"]["requirements"]}
    assert rows["AML.M0013"]["coverage"] == "covered"
    assert rows["AML.M0013"]["evidence"][0]["record"].startswith("sha256:")
    assert rows["AML.T0057"]["reason"].startswith("no remote stage")
    assert found["trend"][0]["covered"] == sum(row["coverage"] == "covered" for row in rows.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--level", "4"), "4 is not a level"),
        (("--require", "CWE-79"), "the catalogue has no requirement 'CWE-79'"),
        (("accept",), "accept needs a requirement"),
        (("accept", "AML.T0015", "--until", "soon"), "'soon' is neither a day nor a time"),
        (("withdraw", "AML.T0015"), "the risk of AML.T0015 is not accepted"),
    ],
)
def test_a_wrong_argument_is_refused_with_a_hint(project, capsys, arguments, message):
    rollouts.live(project, rollouts.release())
    assert run(project, *arguments) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert "try: " in printed


def test_an_accepted_risk_is_withdrawn(project, capsys):
    rollouts.live(project, rollouts.release())
    run(project, *ACCEPT)
    assert run(project, "withdraw", "AML.T0024.002", "--reason", "two callers") == 0
    assert "AML.T0024.002 is not accepted any more" in capsys.readouterr().out
    until = (datetime.now(UTC) + timedelta(days=9)).date().isoformat()
    assert run(project, "accept", "AML.T0024.002", "--until", until, "--reason", "one caller again") == 0
    assert f"accepted until {until}" in capsys.readouterr().out


def test_the_schedule_assesses_threats(project):
    assert run(project, "--task", "threats", command="run") == 0
    assert last_run(project, "threats").message == "no release is live"
    rollouts.live(project, rollouts.release())
    assert run(project, "--task", "threats", command="run") == 0
    assert " covered, " in last_run(project, "threats").message
    assert project.latest(ThreatAssessment).release


def test_status_has_a_line_on_threats_and_says_that_another_release_is_not_assessed(project, capsys):
    rollouts.live(project, rollouts.release())
    run(project, command="status")
    assert "  threats " not in capsys.readouterr().out
    run(project)
    capsys.readouterr()
    run(project, command="status")
    assert "  threats  " in capsys.readouterr().out
    rollouts.live(project, rollouts.release(made_by="another"))
    run(project, "--json", command="status")
    conditions = json.loads(capsys.readouterr().out)["conditions"]
    [condition] = [one for one in conditions if one["subject"] == "threats"]
    assert condition["message"].endswith("and since then another release went live.")
    assert condition["command"] == "headway threats"


def test_a_leaking_model_is_not_covered_by_the_number_that_says_so(project, capsys):
    area = Measurement(
        name="privacy.membership.auc",
        value=0.95,
        low=0.93,
        high=0.97,
        method="t",
        n_rows=800,
        n_groups=40,
        se=0.01,
        dof=39,
    )
    made = rollouts.release()
    leaks = Evidence(
        subject=made.variant.digest,
        dataset="sha256:test",
        period="test",
        machine=this_machine(),
        measurements=(area,),
        at=datetime.now(UTC).isoformat(),
    )
    rollouts.live(project, replace(made, data={"test": "sha256:test"}, evidence=(leaks,)))
    assert run(project, "--require", "AML.T0024.000") == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "measured: it does" in printed and "privacy.membership.auc is 0.95" in printed
    assert run(project, "--json") == 1
    rows = json.loads(capsys.readouterr().out)["now"]["requirements"]
    (row,) = (row for row in rows if row["id"] == "AML.T0024.000")
    assert row["coverage"] == "measured" and row["evidence"][0]["result"]["answer"] == "fail"
    assert run(project, "accept", "AML.T0024.000", *ACCEPT[2:]) == 0
    assert run(project, "--require", "AML.T0024.000") == 0
