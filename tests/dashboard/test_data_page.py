"""The data of a model: checks, contract, quarantine, drift and use, and what a viewer does not see of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from tests.dashboard.people import RunningDashboard, running_dashboard
from tests.pipeline.projects import write

from headway.core.assessment import Assessment
from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Drift, MonitoringReport
from headway.core.quarantine import RowDecision
from headway.data.contract.check import check_contract
from headway.data.contract.quarantine import list_quarantine, read_rows
from headway.data.open import open_dataset
from headway.storage import traffic

pytestmark = pytest.mark.slow
MAIL = "ada.{}@secret.example"
WEIRD = "<img src=x>"
PAGE = "/models/small/data"
VIEWS = ("", "/charts", "/contract", "/drift", "/use")
CONTRACT = """# Allowed values of the columns of 'small', discovered in 4,800 rows.
# Edit it.
[columns.hour]
type = "integer"
minimum = 0
maximum = 23
[columns.mail]
type = "string"
values = ["{mails}"]
[columns.wind]
type = "number"
missing = 1
maximum = 40
"""


@pytest.fixture(scope="module")
def served_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDashboard]:
    """A dashboard of a project with mail addresses, whose data an operator checked, and rows in quarantine."""
    folder = write(tmp_path_factory.mktemp("small"))
    file = folder / "table.parquet"
    table = pl.read_parquet(file)
    mails = [MAIL.format(number % 50) for number in range(len(table))]
    table = table.with_columns(mail=pl.Series(mails))
    wind = pl.when(pl.int_range(pl.len()) < 3).then(77.125).otherwise(pl.col("wind").clip(0, 40))
    table.with_columns(wind=wind).write_parquet(file)
    (folder / "contract.toml").write_text(CONTRACT.format(mails='", "'.join(MAIL.format(n) for n in range(50))))
    toml = (folder / "headway.toml").read_text()
    (folder / "headway.toml").write_text(toml.replace('carrier = "request"', 'carrier = "request"\nmail = "request"'))
    with running_dashboard(folder) as running:
        project = running.dashboard.project("small")
        running.visitor("operator", name="olga").post(PAGE)
        check_contract(project.config)
        project.save(report())
        yield running


def report() -> MonitoringReport:
    """A period in which one column drifted; the words of its findings name a value."""
    measured = (
        Measurement(name=name, slice=column, value=value, low=low, high=high, n_rows=900, n_groups=30, method="a test")
        for name, column, value, low, high in (
            ("drift.p", "wind", 0.001, 0.001, 0.001),
            ("drift.distance", "wind", 0.2, 0.1, 0.3),
            ("drift.p", "hour", 0.8, 0.8, 0.8),
        )
    )
    found = Finding(code="O001", severity="warn", message=f"mail is {MAIL.format(1)} more often")
    return MonitoringReport(
        name="small",
        release="sha256:1",
        period="2013-04",
        since="2013-04-01",
        until="2013-05-01",
        n_rows=900,
        n_labeled=0,
        status="drifted",
        message="drift",
        drift=Drift(alarm=True, measurements=tuple(measured), findings=(found,)),
    )


def test_the_last_check_is_shown_with_who_made_it_its_findings_and_its_history(served_data):
    found = served_data.visitor("operator").get(PAGE)
    assert found.status == 200
    assert "by olga: 7,200 rows in 120 groups" in found.words
    assert "D050" in found.words
    assert "checks did not run" in found.words
    assert "The last checks, newest first" in found.words
    (stored,) = served_data.dashboard.project("small").records(Assessment)
    assert stored.by == "olga"


def test_charts_have_their_numbers_next_to_them(served_data):
    found = served_data.visitor("operator").get(f"{PAGE}/charts")
    assert found.text.count("<svg") >= 2
    assert "The numbers" in found.words
    assert "style=" not in re.sub(r"<svg.*?</svg>", "", found.text, flags=re.S)


def test_the_contract_shows_where_it_came_from_and_its_rules(served_data):
    found = served_data.visitor("operator").get(f"{PAGE}/contract").words
    assert "discovered in 4,800 rows" in found
    assert "hour integer none from 0 to 23" in found
    assert MAIL.format(1) in found
    viewed = served_data.visitor("viewer").get(f"{PAGE}/contract").words
    assert "hour integer none from 0 to 23" in viewed
    assert "mail string none not shown to viewers" in viewed


def test_drift_is_shown_by_column_with_intervals(served_data):
    found = served_data.visitor("viewer").get(f"{PAGE}/drift").words
    assert "April 2013 drifted" in found
    assert "wind 0.00100 0.20 [0.10, 0.30] 900" in found
    assert found.index(" wind ") < found.index(" hour ")


def test_the_use_of_each_column_and_personal_data_are_shown(served_data):
    found = served_data.visitor("operator").get(f"{PAGE}/use").words
    assert "groups of dependent rows" in found
    assert "personal data in 1 columns: mail" in found


def test_a_viewer_sees_no_value_of_a_row(served_data):
    operator, viewer = served_data.visitor("operator"), served_data.visitor("viewer")
    seen = "".join(operator.get(PAGE + view).text for view in VIEWS)
    assert "secret.example" in seen
    assert "77.125" in seen
    for view in VIEWS:
        found = viewer.get(PAGE + view)
        assert found.status == 200
        assert "secret.example" not in found.text
        assert "77.125" not in found.text
    file = list_quarantine(served_data.dashboard.project("small").config)[0].file
    for role in ("viewer", "labeller"):
        for path in ("/quarantine", f"/quarantine/{file}"):
            refused = served_data.visitor(role).get(PAGE + path)
            assert refused.status == 403
            assert "77.125" not in refused.text
        assert served_data.visitor(role).post(f"{PAGE}/quarantine/{file}", all="yes").status == 403
        assert served_data.visitor(role).post(PAGE).status == 403


def test_rows_in_quarantine_are_looked_at_released_and_discarded(served_data):
    person, project = served_data.visitor("operator", name="olga"), served_data.dashboard.project("small")
    (file,) = [one.file for one in list_quarantine(project.config)]
    page = f"{PAGE}/quarantine/{file}"
    assert "3 rows to decide" in person.get(f"{PAGE}/quarantine").words
    shown = person.get(page)
    assert "Rows 1 to 3 of 3" in shown.words
    assert "77.125" in shown.text
    assert person.post(page, decision="released", row="1").status == 400
    assert person.post(page, decision="released", reason="x").status == 400
    assert person.post(page, decision="x", row="1", reason="x").status == 400
    assert person.post(page, decision="released", row="99", reason="x").status == 409
    person.post(page, decision="released", row="1", reason="the storm was real")
    person.post(page, decision="discarded", row="2", reason=WEIRD)
    after = person.get(f"{PAGE}/quarantine")
    assert "1 row is discarded." in after.words
    assert "the storm was real" in after.words
    assert "<img" not in after.text
    decided = project.records(RowDecision)
    assert [(one.who, one.decision, one.numbers) for one in decided] == [
        ("olga", "released", (1,)),
        ("olga", "discarded", (2,)),
    ]
    assert len(open_dataset(project.config).table) == 7199
    again = check_contract(project.config)
    assert [row.row for row in read_rows(project.config, Path(again.quarantine).name)] == [2]  # row 3 of before
    audit = person.get("/audit?kind=quarantine").words
    assert "quarantine released" in audit
    assert "the storm was real" in audit


def test_batches_of_the_log_that_cannot_be_read_are_named(served_data):
    config = served_data.dashboard.project("small").config
    aside = traffic.aside_folder(config.state, "small") / "00000000000000000001-1-1-ab"
    aside.parent.mkdir(parents=True)
    aside.write_bytes(b"torn")
    person = served_data.visitor("operator")
    assert "Import them into the log" in person.get(f"{PAGE}/quarantine").words
    person.post(f"{PAGE}/quarantine-log", reason="the disk was full")
    found = person.get(f"{PAGE}/quarantine").words
    assert "0 batches are in the log, 1 cannot be read or written." in found


def test_data_that_were_never_checked_cannot_be_judged(served):
    for view in VIEWS:
        assert served.visitor("viewer").get(f"/models/flights/data{view}").status == 200
    assert "cannot be judged The data were never checked." in served.visitor("viewer").get("/models/flights/data").words
    assert "No row is in quarantine." in served.visitor("operator").get("/models/flights/data/quarantine").words
