"""The audit: what was done to every model, filtered, paged and exported."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.dashboard.people import Answer, RunningDashboard, running_dashboard
from tests.monitoring import rollouts

from headway.cli import main as cli
from headway.core.action import PersonAction
from headway.core.approval import Approval, ApprovalOutcome, SignedApproval
from headway.core.assessment import Assessment
from headway.core.erasure import Erasure
from headway.core.labeling import Confirmation, Correction
from headway.core.record import write
from headway.core.threats import AcceptedRisk
from headway.core.verdict import Verdict
from headway.monitoring.erasure.proofs import save_proof
from headway.registry.judge import override_verdict
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project
from headway.registry.sign import create_operator, init_operator_keys, load_publisher
from headway.reporting import audit
from headway.reporting.audit import AuditFilter
from headway.serving.auth.keys import create_key, keys_file, revoke_key

pytestmark = pytest.mark.slow
TOML = rollouts.TOML.replace("[trust]", '[trust]\noperator_key = "keys/operator.pem"')
NASTY = '=HYPERLINK("http://evil.example")'
N_ACTIONS = 120


def act(project: Project, number: int, **fields: str) -> PersonAction:
    """Save that a person did something on a day of October."""
    at = f"2026-10-{1 + number // 24:02}T{number % 24:02}:00:00+00:00"
    action = PersonAction(
        **{"name": project.name, "at": at, "who": "ann", "role": "operator", "action": "setting.changed", **fields}
    )
    project.save(action)
    return action


def erased(number: int) -> Erasure:
    at = "2026-11-05T10:00:00+00:00"
    return Erasure(
        name="flights",
        number=1,
        before="",
        subject="0123",
        who="eve",
        why="she asked",
        begun_at=at,
        done_at=at,
        erased=(),
    )


def approval(project: Project, *, key: str, why: str) -> SignedApproval:
    """A decision, signed with the key of that name; only that of the operator is listed."""
    made = Approval(
        name="flights",
        step="search",
        approved=True,
        subject="sha256:2",
        evidence="sha256:3",
        policy="sha256:4",
        live="",
        live_update=1,
        answer="undecided",
        who="gus",
        why=why,
        at="2026-11-07T10:00:00+00:00",
    )
    registry = project.registry
    init_operator_keys(
        registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="a test"
    )
    stranger = Path(project.config.folder) / "stranger.pem"
    signer = registry.load_operator() if key == "operator" else create_operator(stranger)
    signed = signer.sign(write(made))
    return SignedApproval(content=signed.content.decode(), signature=signed.signature.decode())


def assessed() -> Assessment:
    return Assessment(
        name="flights", at="2026-11-06T10:00:00+00:00", by="fay", headway="0.1.0", number=3, source="table.parquet",
        dataset="sha256:1", n_rows=5, n_groups=0, until="", columns={}, settings={}, check_runs=(), findings=(),
    )  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A dashboard of two models to which everything was done that an audit lists."""
    folders = []
    for name in ("flights", "trains"):
        folders.append(tmp_path_factory.mktemp(name))
        project = rollouts.project(folders[-1], toml=TOML.replace('"flights"', f'"{name}"'))
        made = rollouts.release(name=name)
        digest = rollouts.live(project, made)
        if name == "flights":
            fill(project, digest, made.verdict)
        else:
            act(project, 0, who="tim", reason="a test of trains")
        project.state.close()
    with running_dashboard(*folders) as running:
        yield running


def fill(project: Project, digest: str, verdict: Verdict) -> None:
    by_hand = override_verdict(verdict, who="cat", why="the judge lacks rows", at="2026-11-01T10:00:00+00:00")
    project.registry.point("flights@live", digest, UpdateReason(who="cat", why="the judge lacks rows", verdict=by_hand))
    for number in range(N_ACTIONS):
        act(project, number, reason=f"reason {number}")
    act(project, N_ACTIONS, action="quarantine.released", who="dan", subject="file.parquet", reason=NASTY)
    at = "2026-11-04T10:00:00+02:00"
    project.save(Correction(row="r1", row_number=17, old=0.0, new=1.0, who="ben", why="seen", at=at))
    project.save(Confirmation(row="r2", row_number=18, label=0.0, who="ben", why="on paper", at=at))
    project.save(assessed())
    project.save(
        AcceptedRisk(
            name="flights",
            requirement="AML.T0015",
            who="liv",
            reason="one caller",
            at="2026-11-05T10:00:00+00:00",
            until="2027-01-31",
            exposure="",
        )
    )
    for signer, word in (("operator", "shown to me"), ("stranger", "not by an operator")):
        project.save(approval(project, key=signer, why=word))
    project.save(
        ApprovalOutcome(approval="sha256:9", at="2026-11-07T11:00:00+00:00", completed=True, message="it is live")
    )
    save_proof(project, erased(1), load_publisher(project.registry.publisher_key))
    file = keys_file(project.config)
    create_key(file, "robot", ["predict"])
    revoke_key(file, "robot")


def see(audited: RunningDashboard, **query: str) -> Answer:
    return audited.visitor("operator").get(f"/audit?{urlencode(query)}")


def test_every_kind_of_action_is_listed_with_who_and_why(audited):
    expected = {
        "pointer": ["ann", "live was set", "a test"],
        "override": ["cat", "the judge lacks rows", "verdict: override"],
        "label": ["ben", "row 17: label 0 corrected to 1 by ben", "row 18: the label 0 confirmed by ben", "on paper"],
        "quarantine": ["dan", "quarantine released", "file.parquet"],
        "risk": ["liv", "risk accepted", "AML.T0015", "one caller", "until 2027-01-31"],
        "erasure": ["eve", "a key was erased", "she asked"],
        "assessment": ["fay", "data were checked", "assessment 3, 5 rows"],
        "key": ["robot", "key created", "key revoked"],
        "approval": ["gus", "the winner of the last search was approved, as an override", "shown to me", "it is live"],
        "problem": ["not by an operator", "no listed operator signed it"],
        "other": ["ann", "setting changed", f"reason {N_ACTIONS - 1}"],
    }
    for kind, words in expected.items():
        found = see(audited, kind=kind).words
        assert [word for word in words if word not in found] == []
    assert "2026-11-04 08:00" in see(audited, kind="label").words


def test_filters_choose_model_person_and_days(audited):
    trains = see(audited, model="trains", who="tim").words
    assert "a test of trains" in trains and "reason 1" not in trains
    found = see(audited, who="ann", since="2026-10-02", until="2026-10-02", kind="other").words
    assert [f"reason {number} " in found + " " for number in (23, 24, 47, 48)] == [False, True, True, False]
    assert "Nothing was done that fits" in see(audited, who="nemo").words


@pytest.mark.parametrize("query", [{"kind": "x"}, {"since": "x"}, {"before": "x"}, {"before": "a:-1"}])
def test_a_choice_that_is_none_is_refused(audited, query):
    assert see(audited, **query).status == 400


def test_pages_hold_every_entry_once_newest_first(audited):
    address, seen = "/audit?kind=other&model=flights", []
    person = audited.visitor("operator")
    while address:
        page = person.get(address)
        seen += [int(number) for number in audit_reasons(page)]
        address = next_page(page)
    assert seen == list(range(N_ACTIONS - 1, -1, -1))


def audit_reasons(page: Answer) -> list[str]:
    cells = (part.partition("</td>")[0] for part in page.text.split("<td>"))
    return [cell.removeprefix("reason ") for cell in cells if cell.startswith("reason ")]


def next_page(page: Answer) -> str:
    before, link, _ = page.text.partition('" rel="next"')
    return before.rpartition('href="')[2].replace("&amp;", "&") if link else ""


def test_an_export_holds_what_is_chosen_and_no_formula(audited):
    person = audited.visitor("operator")
    found = person.get("/audit/export.csv?model=flights")
    assert found.headers["content-type"] == "text/csv; charset=utf-8"
    assert found.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    rows = list(csv.DictReader(io.StringIO(found.text)))
    lines = [json.loads(line) for line in person.get("/audit/export.jsonl?model=flights").text.splitlines()]
    assert len(rows) == len(lines) == N_ACTIONS + 13
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), reverse=True)
    assert {row["reason"] for row in rows if row["who"] == "dan"} == {f"'{NASTY}"}
    assert {line["reason"] for line in lines if line["who"] == "dan"} == {NASTY}
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert {json.loads(line)["who"] for line in person.get("/audit/export.jsonl?who=ben").text.splitlines()} == {"ben"}


def test_people_below_operator_see_no_audit(audited):
    for role in ("viewer", "labeller"):
        for path in ("/audit", "/audit/export.csv", "/audit/export.jsonl"):
            assert audited.visitor(role).get(path).status == 403


def test_what_a_person_wrote_is_never_markup(audited):
    project = audited.dashboard.project("trains")
    act(project, 1, who="<script>alert(1)</script>", reason='"><img src=x>', subject="<b>")
    text = see(audited, model="trains").text
    assert "<script>alert" not in text and "<img" not in text and "<b>" not in text


def test_an_entry_that_cannot_be_read_is_shown_as_a_gap(audited):
    project = audited.dashboard.project("trains")
    project.state.save("erasure_proof", write(act(project, 2)), name="trains")
    found = see(audited, model="trains", kind="problem").words
    assert "Could not be read" in found and "erasures: earlier entries unread" in found


def test_a_rare_entry_is_searched_in_bounded_steps(audited, monkeypatch):
    monkeypatch.setattr(audit, "MAX_SCANNED", 10)
    page = see(audited, model="flights", kind="quarantine", who="nemo")
    assert "Nothing among the entries that were read so far." in page.words
    assert next_page(page)


def test_an_export_is_streamed_in_bounded_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(audit, "BATCH", 20)
    project = rollouts.project(tmp_path)
    for number in range(300):
        act(project, number, reason=f"{number} " + "x" * 9000)
    tracemalloc.start()
    n_bytes = sum(len(chunk) for chunk in audit.export_csv(audit.audit_entries([project], AuditFilter())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    project.state.close()
    assert n_bytes > 2_700_000
    assert peak < n_bytes / 3


def test_the_command_shows_and_exports_the_same(audited, tmp_path, capsys):
    folder = audited.dashboard.project("flights").config.folder
    found = run_audit(capsys, "--project", folder, "--who", "ben", "--json").out
    assert [entry["who"] for entry in json.loads(found)] == ["ben", "ben"]
    assert "she asked" in run_audit(capsys, "--project", folder, "--kind", "erasure").out
    file = tmp_path / "audit.csv"
    run_audit(capsys, "--project", folder, "--export", str(file))
    assert len(list(csv.DictReader(file.read_text().splitlines()))) == N_ACTIONS + 13
    refused = run_audit(capsys, "--project", folder, "--export", "audit.xls", code=2).err
    assert "audit.csv or audit.jsonl" in refused


def run_audit(capsys: pytest.CaptureFixture[str], *words: str, code: int = cli.PASS) -> Any:
    with pytest.raises(SystemExit) as ended:
        cli.main(["audit", *words])
    assert ended.value.code == code
    return capsys.readouterr()
