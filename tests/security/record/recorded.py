"""A project with a live release that has evidence, and its compliance record."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace
from tests.serving.running import release

from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.release import Release
from headway.core.verdict import Rule, RuleResult, Verdict
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from headway.registry.sign import init_keys, load_publisher
from headway.reporting.compliance import read_record, render_documents
from headway.security.record.build import write_record

TOML = """
[project]
name = "flights"
[data]
source = "table.parquet"
target = "late"
[trust]
publisher_key = "keys/publisher.pem"
trusted_keys = "keys/trusted_keys.txt"
operator_key = "keys/operator.pem"
operator_keys = "keys/operator_keys.txt"
[personal]
key = "keys/personal.key"
"""
DECLARED = """
[personal.keep]
a = "the model is about it"
[personal.purpose]
a = "limits of the tariff"
"*" = "prediction of delays"
[personal.legal_basis]
a = "contract"
[record]
purpose = "Estimate delays for people who plan crews."
provider = "Ada Ltd, London"
standards = ["ISO/IEC 42001"]
retention = "3653d"
"""
MACHINE = Machine(cpu="none", cores=2, system="Linux", python="3.13")


def measured(name: str, value: float, *, slice: str = "", half: float = 0.01) -> Measurement:
    """Return a measurement with an interval."""
    return Measurement(
        name=name, value=value, low=value - half, high=value + half, method="t", n_rows=5000, n_groups=62, slice=slice
    )


def judged_release(**fields: object) -> Release:
    """Return a release with evidence, a finding of what was not judged, and a verdict of one rule."""
    made = release()
    found = (
        measured("roc_auc", 0.741),
        measured("brier", 0.1234, slice="carrier=9E"),
        measured("latency.one_row", 31.25),
        measured("ablation.useless", 1.0, slice="b", half=0.0),
        measured("ablation.masked.brier.drop", 0.0001, slice="b"),
    )
    missing = Finding(
        code="E001", severity="undecided", message="metric 'bias' did not run: 0 columns", plugin="bias", hint="declare"
    )
    evidence = Evidence(
        subject=made.variant.digest,
        dataset=f"sha256:{'a' * 64}",
        period="test",
        machine=MACHINE,
        measurements=found,
        findings=(missing,),
    )
    rule = RuleResult(rule=Rule(measure="ece", at_most=0.05), answer="pass", message="it passes")
    verdict = Verdict(answer="pass", subject=made.variant.digest, rule_results=(rule,), test_evaluations=1)
    data = {"test": f"sha256:{'a' * 64}", "train": f"sha256:{'b' * 64}"}
    made_at = "2026-11-24T15:00:00.123456+00:00"
    return replace(made, evidence=(evidence,), verdict=verdict, data=data, made_at=made_at, made_by="ann", **fields)


def recorded_project(folder: Path, *, declared: str = "", released: Release | None = None) -> Project:
    """Return a project whose release is live."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "headway.toml").write_text(TOML + declared)
    project = open_project(folder)
    init_keys(project.registry.publisher_key, project.registry.trusted_keys, comment="a test")
    made = released or judged_release()
    digest = project.registry.publish(made, {"model.echo": b"echo"})
    project.registry.point("flights@live", digest, UpdateReason(who="ann", why="first", verdict=made.verdict))
    return project


def write(project: Project, folder: Path, *, pdf: bool = False) -> str:
    """Write the record of what is live; return its digest."""
    found, sources = read_record(project)
    documents = render_documents(found, sources, pdf=pdf)
    publisher = load_publisher(project.registry.publisher_key)
    return write_record(found, sources, documents, folder=folder, publisher=publisher)
