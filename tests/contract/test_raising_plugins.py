"""One plug-in that raises ends nothing: what it should have found is reported as not run, or one error names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.contract.raising import EARLY, LATE, install_raising
from tests.contract.subjects import echo_comparison
from tests.contract.test_audit import context_in
from tests.contract.test_check import check_context

import headway as hw
from headway.cli.loading import diagnose_plugin
from headway.core import plugins
from headway.core.alerting import Alert
from headway.core.config import FILE, Config, load, sections
from headway.core.errors import EngineError, HeadwayError, NotApplicable
from headway.core.evidence import NOT_RUN, Finding
from headway.core.exposure import exposure_of
from headway.core.measure import measures, read_catalogue
from headway.core.settings.store import StoreSection
from headway.data.check import run_checks
from headway.data.context import Window, Windows, run_detector
from headway.data.read import read_table
from headway.data.settings.data import DataSection
from headway.evaluation.measure import Audits, measure
from headway.monitoring.alerts.deliver import send_alert
from headway.monitoring.settings.alert import AlertRule
from headway.optimization.importers.models import import_fitted_model
from headway.optimization.search import apply_transform
from headway.reporting.report_data import ReportData
from headway.reporting.section import build_sections
from headway.storage import addresses

pytestmark = pytest.mark.slow
NAME = "defective"
ROWS = np.random.default_rng(0).normal(size=(60, 2))
LABELS = (ROWS[:, 0] + np.random.default_rng(1).normal(size=60) > 0).astype(int)


def not_run(findings: tuple[Finding, ...] | list[Finding]) -> str:
    """Return the messages of the findings of the plug-in that raised."""
    return " ".join(finding.message for finding in findings if finding.plugin == NAME)


def of_metric(folder: Path) -> str:
    evidence = measure(echo_comparison(groups=25), [NAME, "quality"], dataset_digest="", period="")
    assert evidence.find("roc_auc"), "the others are measured"
    return not_run(evidence.findings)


def of_audit(folder: Path) -> str:
    audits = Audits(names=[NAME], context=context_in(folder))
    return not_run(measure(echo_comparison(groups=25), [], dataset_digest="", period="", audits=audits).findings)


def of_check(folder: Path) -> str:
    return not_run(run_checks(check_context(), families=["roles"]))


def of_detector(folder: Path) -> str:
    window = Window(rows=ROWS, groups=np.arange(60))
    found = run_detector(
        NAME, Windows(before=window, after=window, signature=echo_comparison(groups=1).variant.signature)
    )
    assert isinstance(found, NotApplicable)
    return found.what


def of_section(folder: Path) -> str:
    sections = build_sections(ReportData(title="small"))
    assert sections[NAME].title == "defective: not shown"
    return sections[NAME].lead


def of_transform(folder: Path) -> str:
    variant = echo_comparison(groups=1).variant
    found = apply_transform(NAME, variant, SimpleNamespace(for_variant=lambda _: None))
    assert isinstance(found, Finding)
    return found.message


def error_of(work: Callable[[], object], kind: type[HeadwayError] = HeadwayError) -> str:
    """Return the error that ends work which cannot be done without the plug-in."""
    with pytest.raises(kind) as caught:
        work()
    return str(caught.value)


def of_engine(folder: Path) -> str:
    assert import_fitted_model(LogisticRegression().fit(ROWS, LABELS)), "the others import"
    return error_of(lambda: import_fitted_model(object()), EngineError)


def of_source(folder: Path) -> str:
    section = DataSection(source=f"{NAME}://user:secret@host/table", query="SELECT 1")
    message = error_of(lambda: read_table(Config(section)))
    assert "secret" not in message
    return message


def opens(role: str, open_it: Callable[[Config], object]) -> Callable[[Path], str]:
    """Return a function that opens a store of that role and returns the error."""
    return lambda folder: error_of(lambda: open_it(Config(StoreSection(**{role: f"{NAME}://host"}))))


def of_receiver(folder: Path) -> str:
    alert = Alert(id="", project="", rule="on-call", condition="degraded", state="firing", at="", since="", summary="")
    problem = send_alert(Config(), AlertRule(name="on-call", to=NAME), alert)
    assert "defect" not in problem.replace(NAME, ""), "it may hold a secret"
    return problem


def of_page(folder: Path) -> str:
    found = plugins.run_plugin("page", NAME, lambda page: page.views)
    assert isinstance(found, NotApplicable)
    return found.what


def of_format(folder: Path) -> str:
    return error_of(lambda: plugins.load_format(NAME)) if _raises_early(folder, "format") else "KeyError"


def of_command(folder: Path) -> str:
    assert NAME in plugins.names("command") and plugins.describe("command", NAME).startswith("A plug-in with a defect")
    return "KeyError"


def _raises_early(folder: Path, kind: str) -> bool:
    return (folder / f"raising_{kind}_{NAME}.py").read_text(encoding="utf-8") == EARLY


OF_KIND: dict[str, Callable[[Path], str]] = {
    "audit": of_audit,
    "blobs": opens("blobs", addresses.open_blobs),
    "check": of_check,
    "command": of_command,
    "detector": of_detector,
    "engine": of_engine,
    "feed": opens("feed", addresses.open_feed),
    "format": of_format,
    "metric": of_metric,
    "online_store": opens("online", addresses.open_online),
    "page": of_page,
    "receiver": of_receiver,
    "section": of_section,
    "source": of_source,
    "state": opens("state", addresses.open_state),
    "transform": of_transform,
}


DECLARED = {"condition", "measure", "settings", "task"}
"""Kinds with tests of their own: tests/contract/test_condition.py, test_task.py, and below."""


def test_every_kind_of_plugin_is_here():
    assert {*OF_KIND, *DECLARED} == set(plugins.kinds())


@pytest.mark.parametrize(("code", "message"), [(EARLY, "KeyError"), (LATE, "is not a subclass of SettingsSection")])
def test_a_section_that_cannot_be_used_is_an_error_where_it_is_set_and_left_out_elsewhere(
    code, message, tmp_path, monkeypatch
):
    install_raising("settings", NAME, tmp_path, monkeypatch, code=code)
    (tmp_path / FILE).write_text(f"[{NAME}]\nnumber = 1\n")
    assert message in error_of(lambda: load(tmp_path))
    assert "serve" in sections() and NAME not in sections()
    (tmp_path / FILE).write_text("")
    assert exposure_of(load(tmp_path))["serve.host"] == "this machine"


def test_measures_that_cannot_be_imported_are_left_out(tmp_path, monkeypatch):
    install_raising("measure", NAME, tmp_path, monkeypatch, code=EARLY)
    read_catalogue.cache_clear()
    assert "brier" in measures()


@pytest.mark.parametrize("code", [LATE, EARLY], ids=["when called", "when imported"])
@pytest.mark.parametrize("kind", OF_KIND)
def test_a_plugin_that_raises_is_named_and_the_others_go_on(kind, code, tmp_path, monkeypatch):
    install_raising(kind, NAME, tmp_path, monkeypatch, code=code)
    assert "KeyError" in OF_KIND[kind](tmp_path)


@pytest.mark.parametrize("kind", plugins.kinds())
def test_the_doctor_names_a_plugin_that_cannot_be_imported(kind, tmp_path, monkeypatch):
    install_raising(kind, NAME, tmp_path, monkeypatch, code=EARLY)
    diagnosis = diagnose_plugin(f"{kind}:{NAME}")
    assert diagnosis.health == "broken" and "KeyError" in diagnosis.message


@pytest.mark.parametrize(
    "returned", ["None", "['a string']", "[object()]"], ids=["nothing", "strings", "another object"]
)
def test_a_metric_that_returns_no_measurements_did_not_run(returned, tmp_path, monkeypatch):
    install_raising(
        "metric", NAME, tmp_path, monkeypatch, code=f'"""Measures nothing."""\ndef plugin(_):\n    return {returned}\n'
    )
    evidence = measure(echo_comparison(groups=25), [NAME], dataset_digest="", period="")
    assert [(finding.code, finding.severity) for finding in evidence.findings if finding.plugin == NAME] == [
        (NOT_RUN, "undecided")
    ]


NAN = '''"""Measures a value that is not a number."""
from headway.core.evidence import Measurement
def plugin(subject):
    return [Measurement(name="odd", value=float("nan"), low=0.0, high=1.0, method="m", n_rows=1)]
'''


def test_a_value_that_is_not_finite_is_not_measured(tmp_path, monkeypatch):
    install_raising("metric", NAME, tmp_path, monkeypatch, code=NAN)
    evidence = measure(echo_comparison(groups=25), [NAME], dataset_digest="", period="")
    assert evidence.find("odd") is None and "odd is not finite: nan" in not_run(evidence.findings)


def test_an_interrupt_ends_the_work(tmp_path, monkeypatch):
    code = '"""Is interrupted."""\ndef plugin(_):\n    raise KeyboardInterrupt\n'
    install_raising("metric", NAME, tmp_path, monkeypatch, code=code)
    with pytest.raises(KeyboardInterrupt):
        measure(echo_comparison(groups=25), [NAME], dataset_digest="", period="")


def test_evaluate_and_optimize_end_with_a_finding_and_a_rule_that_needs_it_is_undecided(tmp_path, monkeypatch):
    install_raising("metric", NAME, tmp_path, monkeypatch)
    model = LogisticRegression().fit(ROWS, LABELS)
    evaluated = hw.evaluate(model, ROWS, LABELS)
    assert "metric 'defective' did not run: it raised KeyError: 'defect'" in not_run(evaluated.evidence.findings)

    policy = {"roc_auc.drop": 0.5, f"{NAME}.odd": 1.0, "floor": "none"}
    best = hw.optimize(
        model, ROWS, LABELS, budget="2s", policy=policy, transforms=["recalibrate"], callback=lambda _: None
    )
    winner = best.search.winner
    assert "did not run" in not_run(winner.evidence.findings) and winner.verdict.answer == "undecided"
    answers = {str(result.rule.measure): result.answer for result in winner.verdict.rule_results}
    assert answers[f"{NAME}.odd"] == "undecided"
