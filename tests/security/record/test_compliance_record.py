"""The compliance record: every number is that of its source, what is missing is known, and the bytes repeat."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import replace as replace_fields
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.security.record.recorded import DECLARED, judged_release, measured, recorded_project, write

from headway.core import record
from headway.core.assessment import UNJUDGED, Assessment, CheckRun
from headway.core.compliance import ComplianceRecord
from headway.core.errors import Refused, StoreError
from headway.core.evidence import DECLARED_PRIVACY, Evidence, Finding
from headway.core.monitoring import MonitoringReport
from headway.core.record import digest_of
from headway.core.training import Training
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.registry.model_registry import UpdateReason
from headway.registry.project import open_project
from headway.registry.sign import init_keys, init_operator_keys, load_publisher, load_trusted
from headway.reporting.compliance import read_record
from headway.security.record.build import RECORD, SIGNATURE, build_record, is_record, verify_record, write_record
from headway.security.record.sources import DEFAULTS, read_sources, value_at
from headway.security.threats.assessment import assess_threats


@pytest.fixture
def project(tmp_path):
    made = recorded_project(tmp_path / "project")
    yield made
    made.state.close()


def verified(project, folder: Path):
    """Verify a record as the command does."""
    return verify_record(folder, load_trusted(project.registry.trusted_keys), project.registry.operators())


def point(found: ComplianceRecord, id: str):
    """Return the point with this id."""
    return next(one for one in found.points if one.id == id)


def test_each_number_is_that_of_the_signed_release(project, tmp_path):
    write(project, tmp_path / "record")
    found = verified(project, tmp_path / "record").record

    auc = next(figure for figure in found.figures if figure.name == "roc_auc")
    assert (auc.value, auc.low, auc.high, auc.n_rows, auc.n_groups) == (0.741, 0.731, 0.751, 5000, 62)
    assert auc.source == found.release == digest_of((tmp_path / "record/release.json").read_bytes())
    document = json.loads((tmp_path / "record/release.json").read_text())
    assert value_at(document, auc.pointer)["value"] == auc.value


def test_the_same_evidence_gives_the_same_bytes(project, tmp_path):
    first, second = write(project, tmp_path / "one"), write(project, tmp_path / "two")

    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert first == second and files == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_what_is_not_declared_or_not_measured_is_a_gap(project):
    found, _ = read_record(project)

    assert [gap.what for gap in point(found, "annex-iv.1").gaps] == [
        "the intended purpose is not declared",
        "the provider is not declared",
    ]
    assert [gap.what for gap in point(found, "article-15.5").gaps] == [
        "evasion was not measured",
        "extraction was not measured",
        "what answers reveal of the training rows was not measured",
        "a screen for poisoned data did not judge",
        "a screen for poisoned data did not judge",
        "the threats were not assessed",
    ]
    (bias,) = [gap for gap in point(found, "annex-iv.3").gaps if gap.fact]
    assert bias.fact.text == "metric 'bias' did not run: 0 columns" and bias.hint == "declare"
    assert {one.section for one in found.missing} >= {"GDPR, Article 30(1)(a)", "NIST AI RMF, MAP"}


def test_a_declared_setting_leaves_no_gap(tmp_path):
    project = recorded_project(tmp_path, declared=DECLARED)
    found, _ = read_record(project)
    project.state.close()

    assert point(found, "annex-iv.1").gaps == () and point(found, "annex-iv.7").gaps == ()
    columns = {fact.label: fact.text for fact in point(found, "data-card.columns").facts}
    assert columns == {
        "a: purpose": "limits of the tariff",
        "a: legal basis": "contract",
        "a: kept because": "the model is about it",
        "b: purpose": "prediction of delays",
        "c: purpose": "prediction of delays",
    }
    assert point(found, "data-card.columns").gaps == ()
    assert found.keep_until > "2036"


def test_what_is_declared_of_private_training_is_shown_once_and_closes_no_gap(tmp_path):
    made = judged_release()
    message = "the model declares that it was trained with differential privacy, epsilon 3"
    finding = Finding(code=DECLARED_PRIVACY, severity="note", message=message, measured=3.0)
    (found,) = made.evidence
    evidence = replace(found, findings=(*found.findings, finding))
    project = recorded_project(tmp_path, released=replace(made, evidence=(evidence, evidence)))
    record, _ = read_record(project)
    project.state.close()
    for id in ("model-card.model", "article-35.7.c"):
        facts = [fact.text for fact in point(record, id).facts if fact.label == "Differential privacy, as declared"]
        assert facts == [message]
    gaps = [gap.what for gap in point(record, "article-35.7.c").gaps]
    assert "what answers reveal of the training rows was not measured" in gaps


def test_columns_whose_removal_costs_nothing_are_proposed_with_their_interval(project):
    found, _ = read_record(project)
    figures = point(found, "data-card.minimisation").figures

    assert [(figure.name, figure.slice) for figure in figures] == [
        ("ablation.useless", "b"),
        ("ablation.masked.brier.drop", "b"),
    ]
    assert figures[1].high == pytest.approx(0.0101)


def test_a_measure_that_was_judged_twice_is_shown_as_judged_for_the_release(tmp_path):
    released = judged_release()
    searched = replace(released.evidence[0], period="validation", measurements=(measured("roc_auc", 0.9),))
    project = recorded_project(tmp_path, released=replace(released, evidence=(searched, *released.evidence)))
    found, _ = read_record(project)
    project.state.close()

    assert [figure.value for figure in found.figures if figure.name == "roc_auc"] == [0.741]


def checked(data: dict[str, str], *, n_rows: int = 7000) -> Assessment:
    """Return an assessment of data: a check that found something, one that is unsure, and one that could not judge."""
    return Assessment(
        name="flights", at="2026-11-26T00:00:00+00:00", by="ann", headway="1", number=1, source="t", dataset="d",
        n_rows=n_rows, n_groups=3, until="", columns={}, settings={}, data=data,
        check_runs=(CheckRun(name="backdoor", code="D041"), CheckRun(name="slow", code="D001", unjudged="no time")),
        findings=(
            Finding(code="D050", severity="stop", message="90 % are e-mail addresses", where="column b"),
            Finding(code="D051", severity="undecided", message="1 % are telephone numbers", where="column c"),
            Finding(code="D001", severity="note", message="nothing", where="column c"),
            Finding(code=UNJUDGED, severity="undecided", message="no time", where="check slow"),
        ),
    )  # fmt: skip


def test_a_check_of_other_data_is_not_a_source(project):
    project.save(checked({"test": "sha256:other rows"}))
    found, _ = read_record(project)

    assert "assessment" not in [source.kind for source in found.sources]
    assert [gap.what for gap in point(found, "data-card.checks").gaps] == ["the data of this release was not checked"]


def test_each_later_audit_is_shown_and_the_newest_of_one_measure(project, tmp_path):
    held = project.registry.resolve("flights@live").release.evidence[0]
    for value, name in (
        (0.6, "privacy.membership.auc"),
        (0.9, "extraction.agreement"),
        (0.52, "privacy.membership.auc"),
    ):
        project.save(replace(held, measurements=(measured(name, value),), at=f"2026-11-25T00:00:{value:.0f}0"))
    write(project, tmp_path / "record")
    figures = point(verified(project, tmp_path / "record").record, "article-15.5").figures

    assert {one.name: one.value for one in figures} == {"privacy.membership.auc": 0.52, "extraction.agreement": 0.9}


def test_the_threat_table_of_the_release_is_shown_with_its_times_and_its_gaps(project, tmp_path):
    assessed = assess_threats(project, who="ann").now
    write(project, tmp_path / "record")
    found = verified(project, tmp_path / "record").record
    texts = {fact.label: fact.text for fact in point(found, "annex-iv.5").facts}
    gaps = [gap.subject for gap in point(found, "annex-iv.5").gaps if gap.what == "a threat is not covered"]

    assert gaps == [row.id for row in assessed.requirements if row.coverage == "gap"]
    assert (texts["Threats assessed at"], texts["Next assessment due by"]) == (assessed.at, assessed.due)
    assert found.at == max(found.at, assessed.at)
    made = judged_release(threshold=0.5)
    digest = project.registry.publish(made, {"model.echo": b"echo"})
    project.registry.point("flights@live", digest, UpdateReason(who="ann", why="second", verdict=made.verdict))
    assert "threats" not in [source.kind for source in read_record(project)[0].sources]


def test_later_evidence_check_training_monitoring_and_erasure_are_sources(project, tmp_path):
    release = project.registry.resolve("flights@live")
    held = release.release.evidence[0]
    project.save(replace(held, measurements=(measured("privacy.membership.auc", 0.52),), at="2026-11-25T00:00:00"))
    project.save(checked(release.release.data))
    project.save(checked({"test": "sha256:other rows"}, n_rows=1))
    variant = Variant(
        artifact=Artifact(format="echo", digest="sha256:0", size_bytes=1), engine="echo", signature=Signature(inputs=())
    )
    project.save(
        Training(
            dataset=release.release.data["train"], recipe="r", model=variant, since="", until="", judged_since="",
            judged_until="", n_rows=99, seconds=1.0,
        )
    )  # fmt: skip
    project.save(
        MonitoringReport(
            name="flights", release=release.digest, period="2026-11", since="2026-11-01", until="2026-12-01", n_rows=10,
            n_labeled=4, status="healthy", message="nothing changed", at="2026-12-01T00:00:00",
        )
    )  # fmt: skip
    erase(project, ErasureRequest(key="customer-1", who="ann", why="asked"), wait=lambda _: None)
    write(project, tmp_path / "record")
    verified_record = verified(project, tmp_path / "record")
    found = verified_record.record

    kinds = [source.kind for source in found.sources]
    assert sorted(kinds) == sorted(
        ["release", "settings", "pointer_update", "erasure", "evidence", "assessment", "training", "monitoring"]
    )
    assert verified_record.n_signed_sources == 3
    assert [figure.name for figure in point(found, "article-35.7.c").figures] == ["privacy.membership.auc"]
    assert {figure.name: figure.value for figure in point(found, "data-card.origin").figures} == {
        "Rows behind the contract": 0.0,
        "Training rows": 99.0,
        "Rows that were checked": 7000.0,
    }
    columns = point(found, "data-card.columns")
    assert [fact.text for fact in columns.facts] == ["90 % are e-mail addresses", "1 % are telephone numbers"]
    assert [gap.subject for gap in columns.gaps] == ["a, b, c", "b, c"]
    assert [gap.subject for gap in point(found, "data-card.checks").gaps] == ["slow"]
    assert [fact.label for fact in point(found, "data-card.checks").facts] == ["D050", "D051"]
    assert [figure.value for figure in point(found, "annex-iv.9").figures] == [10.0, 4.0]
    assert "asked" in [fact.text for fact in point(found, "article-35.7.d").facts]
    assert found.at == max(source.at for source in found.sources) >= "2026-12-01T00:00:00+00:00"


@pytest.mark.parametrize("name", ["record.html", "release.json", "settings.json", "bom.cdx.json", RECORD, SIGNATURE])
def test_a_changed_file_is_refused(project, tmp_path, name):
    write(project, tmp_path / "record")
    path = tmp_path / "record" / name
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))

    with pytest.raises(Refused):
        verified(project, tmp_path / "record")


def test_a_missing_file_a_link_and_an_extra_file_are_refused(project, tmp_path):
    folder = tmp_path / "record"
    write(project, folder)
    (folder / "more.txt").write_text("x")
    with pytest.raises(Refused, match=r"'more.txt' is not a file of this record"):
        verified(project, folder)
    (folder / "more.txt").unlink()
    (folder / "settings.json").rename(tmp_path / "settings.json")
    with pytest.raises(Refused, match=r"settings.json is missing"):
        verified(project, folder)
    (folder / "settings.json").symlink_to(tmp_path / "settings.json")
    with pytest.raises(Refused, match=r"settings.json is missing"):
        verified(project, folder)


def test_a_record_that_another_key_signed_is_refused(project, tmp_path):
    write(project, tmp_path / "record")
    init_keys(tmp_path / "other.pem", tmp_path / "other.txt", comment="bob")

    with pytest.raises(Refused, match="not trusted"):
        verify_record(tmp_path / "record", load_trusted(tmp_path / "other.txt"), project.registry.operators())


def resigned(project, folder: Path, change) -> None:
    """Write the record as a publisher would who changes it on purpose."""
    found, sources = read_record(project)
    write_record(change(found), sources, {}, folder=folder, publisher=load_publisher(project.registry.publisher_key))


def with_first(found: ComplianceRecord, kind: str, change) -> ComplianceRecord:
    """Return a record whose first figure or fact of the model card is another."""
    first, *others = found.documents
    model, *rest = first.points
    values = getattr(model, kind)
    model = replace(model, **{kind: (change(values[0]), *values[1:])})
    return replace(found, documents=(replace(first, points=(model, *rest)), *others))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("figures", lambda figure: replace(figure, value=figure.value + 1)),
        ("figures", lambda figure: replace(figure, pointer="/record/nothing")),
        ("figures", lambda figure: replace(figure, kind="number")),
        ("figures", lambda figure: replace(figure, source="sha256:0")),
        ("facts", lambda fact: replace(fact, text="something else")),
        ("facts", lambda fact: replace(fact, pointer="/record/nothing")),
    ],
)
def test_a_number_or_text_that_its_source_does_not_have_is_refused_though_it_is_signed(project, tmp_path, kind, change):
    resigned(project, tmp_path / "record", lambda found: with_first(found, kind, change))

    with pytest.raises(Refused, match="is not what its source has"):
        verified(project, tmp_path / "record")


def test_a_measurement_with_another_interval_is_refused(project, tmp_path):
    def wider(found: ComplianceRecord) -> ComplianceRecord:
        return record.read(ComplianceRecord, record.write(found).replace(b'"low":0.731', b'"low":0.7'))

    resigned(project, tmp_path / "record", wider)

    with pytest.raises(Refused, match="'roc_auc' is not what its source has"):
        verified(project, tmp_path / "record")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda listed: replace(listed, signature=""), "carries no signature"),
        (lambda listed: replace(listed, digest="sha256:0"), "is not the source that the record lists"),
        (lambda listed: replace(listed, signature="settings.sig"), "is not the source that the record lists"),
    ],
)
def test_a_source_that_is_not_what_the_record_lists_is_refused(project, tmp_path, change, message):
    def other(found: ComplianceRecord) -> ComplianceRecord:
        release, *others = found.sources
        return replace(found, sources=(change(release), *others))

    resigned(project, tmp_path / "record", other)

    with pytest.raises(Refused, match=message):
        verified(project, tmp_path / "record")


def test_a_record_of_another_release_than_its_source_is_refused(project, tmp_path):
    resigned(project, tmp_path / "record", lambda found: replace(found, release=f"sha256:{'0' * 64}"))

    with pytest.raises(Refused, match="of another release"):
        verified(project, tmp_path / "record")


def test_an_update_that_an_operator_signed_is_accepted_and_an_unknown_key_is_not(project, tmp_path):
    registry = project.registry
    init_operator_keys(registry.operator_key, registry.operator_keys, trusted_keys=registry.trusted_keys, comment="bob")
    made = judged_release(threshold=0.5)
    digest = registry.publish(made, {"model.echo": b"echo"})
    registry.point("flights@live", digest, UpdateReason(who="ann", why="second", verdict=made.verdict))
    registry.roll_back("flights@live", who="bob", why="slow", key="operator")
    write(project, tmp_path / "record")

    found = verified(project, tmp_path / "record").record
    assert "bob" in [fact.text for fact in point(found, "annex-iv.6").facts]
    registry.operator_keys.write_text("")
    with pytest.raises(Refused, match="not trusted"):
        verified(project, tmp_path / "record")


def test_a_folder_of_something_else_is_not_overwritten_and_an_old_record_is_replaced(project, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/photo.png").write_bytes(b"x")
    with pytest.raises(StoreError, match="something else"):
        write(project, tmp_path / "taken")
    resigned(project, tmp_path / "record", lambda found: found)
    assert is_record(tmp_path / "record") and not (tmp_path / "record/record.html").exists()
    write(project, tmp_path / "record")
    assert (tmp_path / "record/record.html").exists()
    resigned(project, tmp_path / "record", lambda found: found)
    assert not (tmp_path / "record/record.html").exists()
    verified(project, tmp_path / "record")


def test_a_file_of_a_person_next_to_a_record_is_not_deleted(project, tmp_path):
    write(project, tmp_path / "record")
    (tmp_path / "record/signed declaration.pdf").write_bytes(b"x")
    with pytest.raises(StoreError, match="something else") as refused:
        write(project, tmp_path / "record")
    assert refused.value.where.endswith("signed declaration.pdf")
    assert (tmp_path / "record/signed declaration.pdf").exists()
    with pytest.raises(StoreError, match="something else"):
        write(project, tmp_path / "record/record.json")


def test_a_release_in_the_form_of_an_earlier_headway_is_refused_with_the_next_step(project):
    _, sources = read_record(project)
    release, *others = sources
    older = replace_fields(release, document={**release.document, "version": 2})
    with pytest.raises(StoreError, match="earlier headway"):
        build_record(project.config, (older, *others))


def test_what_a_release_leaves_out_is_its_default():
    variant = Variant(
        artifact=Artifact(format="echo", digest="sha256:0", size_bytes=1),
        engine="echo",
        signature=Signature(inputs=(Field(name="x"),)),
    )
    assert {
        "/record/variant/task": variant.task,
        "/record/variant/signature/output": variant.signature.output,
    } == DEFAULTS


def test_a_store_that_the_last_erasure_of_a_key_did_not_reach_is_a_gap(tmp_path):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        store = f'[store]\nonline = "redis://127.0.0.1:{sock.getsockname()[1]}/0"\n'
        project = recorded_project(tmp_path / "project", declared=store)
        for key in ("customer-1", "customer-1", "customer-2"):
            erase(project, ErasureRequest(key=key, who="ann", why="asked"), wait=lambda _: None)
    project.state.close()
    toml = tmp_path / "project/headway.toml"
    toml.write_text(toml.read_text().replace(store, ""))
    project = open_project(tmp_path / "project")
    erase(project, ErasureRequest(key="customer-2", who="ann", why="asked"), wait=lambda _: None)
    write(project, tmp_path / "record")
    found = verified(project, tmp_path / "record").record
    project.state.close()

    (gap,) = [one for one in point(found, "article-35.7.d").gaps if one.subject == "online"]
    assert gap.what == "an erasure did not reach a store" and gap.fact.text
    assert any(figure.name.startswith("Searched in folder") for figure in found.figures)


def test_a_location_in_which_an_erasure_left_the_key_is_a_gap(project, tmp_path):
    (project.config.state / "notes.txt").write_text("customer-1")
    erase(project, ErasureRequest(key="customer-1", who="ann", why="asked"), wait=lambda _: None)
    write(project, tmp_path / "record")
    found = verified(project, tmp_path / "record").record

    (gap,) = [one for one in point(found, "article-35.7.d").gaps if one.subject == "notes.txt"]
    assert (gap.what, gap.fact.text) == ("an erasure left the key in a location", "headway does not write here")


def test_a_proof_of_an_erasure_in_the_form_of_0_1_is_a_source(project):
    was = {
        "name": "flights", "number": 1, "before": "", "subject": "a", "older_than": "", "who": "ann", "why": "asked",
        "begun_at": "2026-01-01T00:00:00+00:00", "done_at": "2026-01-01T00:00:00+00:00",
        "erased": [{"place": "log/flights", "rows": 3, "files": 1, "before": "", "after": ""}],
        "stays": [{"place": "releases", "times": 1, "why": "a signed release contains it"}], "says": [],
    }  # fmt: skip
    signed = load_publisher(project.registry.publisher_key).sign(record.canonical(was))
    bundle = project.registry.resolve("flights@live")
    found = build_record(project.config, read_sources(project, bundle, erasures=(signed,)))

    assert 3.0 in [one.value for one in point(found, "article-35.7.d").figures]
    assert "releases" in [gap.subject for gap in point(found, "article-35.7.d").gaps]


def test_a_password_in_a_setting_is_not_in_the_record(tmp_path):
    project = recorded_project(tmp_path / "project")
    project.state.close()
    toml = tmp_path / "project/headway.toml"
    toml.write_text(toml.read_text().replace("table.parquet", "postgresql://ada:secret@db/flights"))
    project = open_project(tmp_path / "project")
    write(project, tmp_path / "record")
    project.state.close()

    assert all(b"secret" not in path.read_bytes() for path in (tmp_path / "record").iterdir())


def test_section_numbers_name_points_that_exist(project):
    found, _ = read_record(project)
    annex = [one.section for one in found.points if one.id.startswith("annex-iv")]

    assert annex == [f"AI Act, Annex IV, point {number}" for number in range(1, 10)]
    assert all(re.fullmatch(r"[a-z0-9.-]+", one.id) for one in found.points)
    assert len({one.id for one in found.points}) == len(found.points)


def test_evidence_of_another_model_is_not_a_source(project):
    held = project.registry.resolve("flights@live").release.evidence[0]
    project.save(replace(held, subject="sha256:other", measurements=(measured("roc_auc", 0.1),)))
    project.save(Evidence(subject=held.subject, dataset="other rows", period="live", machine=held.machine))
    found, _ = read_record(project)

    assert "evidence" not in [source.kind for source in found.sources]
