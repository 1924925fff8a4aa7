"""What is measured against the live release: drops for every task, changed decisions where the task decides."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from headway_echo import Echo
from msgspec.structs import replace
from tests.evaluation.conftest import subject_from
from tests.monitoring import rollouts
from tests.registry import releasing

from headway.core.dataset import Dataset
from headway.core.evidence import Evidence, Machine
from headway.core.variant import Field, Signature
from headway.data.roles import parse_roles
from headway.data.settings.data import DataSection
from headway.registry.live import BRING_HINT, JudgedChange, compare_with_live, find_main_release
from headway.registry.project import LiveRelease, find_live, open_project

EMPTY = Evidence(subject="", dataset="d", period="test", machine=Machine(cpu="", cores=1, system="", python=""))
LABELS = (np.arange(600) % 3 > 0).astype(np.float64)
LIVE = LABELS * 0.4 + 0.4
SCORES = np.where(np.arange(600) % 5, LIVE, 1 - LIVE)


def compared(folder: Path, task: str, classes: tuple[str, ...] = (), *, names: str = "") -> Evidence:
    """Compare a model that errs in every fifth row with a live release that does not."""
    project, made = rollouts.project(folder), rollouts.release()
    signature = replace(made.variant.signature, classes=classes)
    made = replace(made, variant=replace(made.variant, task=task, signature=signature))
    bundle = project.registry.resolve(f"flights@{rollouts.publish(project, made)}")
    subject = subject_from(LABELS, SCORES, LIVE, np.arange(600) // 20, task=task)
    if names:
        signature = Signature(inputs=tuple(Field(name=name) for name in names))
        subject = dataclasses.replace(
            subject,
            variant=replace(subject.variant, signature=signature),
            model=Echo(b"echo", {}),
            rows=np.tile(LIVE[:, None], len(names)),
        )
    if classes:
        variant = replace(subject.variant, signature=replace(subject.variant.signature, classes=classes))
        subject = dataclasses.replace(subject, variant=variant, labels=LABELS[:, None])
    rows = Dataset(
        name="test",
        table=pl.DataFrame({"a": LIVE, "b": LIVE, "y": LABELS}),
        roles=parse_roles(DataSection(target="y")),
    )
    live = LiveRelease(digest=bundle.digest, bundle=bundle)
    found = compare_with_live(live, subject, rows, EMPTY, timed=bool(names))
    assert (found.live, found.findings) == (bundle.digest, ())
    return found


def test_numbers_of_a_regression_have_a_drop_against_live_and_no_decision_that_changes(tmp_path: Path) -> None:
    found = compared(tmp_path, "regression")
    assert found.find("live.decision_churn") is None
    assert [measured.name for measured in found.measurements if measured.name.endswith(".drop")]


@pytest.mark.parametrize(("task", "classes", "threshold"), [("binary", (), 0.3), ("multilabel", ("refund",), 0.5)])
def test_decisions_that_differ_from_those_of_live_are_counted_each_by_its_own_threshold(
    tmp_path: Path, task: str, classes: tuple[str, ...], threshold: float
) -> None:
    churn = compared(tmp_path, task, classes).find("live.decision_churn")
    decided, decided_live = (scores >= limit for scores, limit in ((SCORES, threshold), (LIVE, 0.5)))
    assert churn is not None and churn.value == pytest.approx((decided != decided_live).mean())


@pytest.mark.parametrize("names", ["ab", "cab"])
def test_the_speed_is_a_ratio_to_that_of_live_on_the_columns_that_live_reads(tmp_path: Path, names: str) -> None:
    ratio = compared(tmp_path, "binary", names=names).find("live.cost.cpu_s.one_row.speedup")
    assert ratio is not None and ratio.low < ratio.high


def test_the_speed_is_not_compared_with_a_release_that_reads_other_columns(tmp_path: Path) -> None:
    evidence = compared(tmp_path, "binary", names="ac")
    assert not [measured for measured in evidence.measurements if measured.name.endswith("speedup")]
    assert evidence.find("live.brier.drop") is not None


def test_a_store_without_a_release_is_a_problem_unless_the_model_is_declared_the_first(tmp_path: Path) -> None:
    project = rollouts.project(tmp_path)
    missing = find_main_release(project, first_model=False)
    assert missing is not None and "was not brought, or there is none yet" in missing.problem
    assert missing.hint == BRING_HINT and find_live(project, "") is None
    assert find_main_release(project, first_model=True) is None


def test_a_release_that_is_live_is_always_compared_with_and_one_that_was_withdrawn_is_not(tmp_path: Path) -> None:
    project, made = rollouts.project(tmp_path), rollouts.release()
    digest = rollouts.live(project, made)
    for first_model in (False, True):
        release = find_main_release(project, first_model=first_model)
        assert release is not None and (release.digest, release.problem) == (digest, "")
    project.registry.withdraw("flights@live", who="ann", why="out of use")
    assert find_main_release(project, first_model=False) is None


def test_a_store_that_lacks_the_release_that_was_seen_is_a_problem_for_everyone(tmp_path: Path) -> None:
    rollouts.live(rollouts.project(tmp_path), rollouts.release())
    shutil.rmtree(tmp_path / ".headway")
    project = open_project(tmp_path)
    live = find_live(project, "")
    assert live is not None and "was seen here before" in live.problem
    release = find_main_release(project, first_model=True)
    assert release is not None and release.hint == BRING_HINT
    project.registry.trusted_keys.with_suffix(".seen.json").write_text("{")
    assert "cannot be read" in getattr(find_live(project, ""), "problem", "")


def test_a_change_knows_whether_its_winner_is_the_live_model(tmp_path: Path) -> None:
    project = rollouts.project(tmp_path)
    search, made = releasing.searched(project), rollouts.release()
    search = replace(search, winner=replace(search.winner, variant=made.variant))
    assert not JudgedChange(search=search, live=None).is_live
    assert not JudgedChange(search=search, live=LiveRelease(digest="", problem="gone")).is_live
    rollouts.live(project, made)
    assert JudgedChange(search=search, live=find_main_release(project, first_model=False)).is_live


def test_a_release_that_cannot_be_opened_or_answers_another_task_leaves_a_finding(tmp_path: Path) -> None:
    project = rollouts.project(tmp_path)
    bundle = project.registry.resolve(f"flights@{rollouts.publish(project, rollouts.release())}")
    subject = subject_from(LABELS, SCORES, LIVE, np.arange(600) // 20, task="regression")
    rows = Dataset(name="test", table=pl.DataFrame({"a": LIVE}), roles=parse_roles(DataSection(target="y")))
    for live, reason in (
        (LiveRelease(digest="", problem="the live release cannot be opened: no key"), "no key"),
        (LiveRelease(digest=bundle.digest, bundle=bundle), "a binary model of other classes"),
    ):
        evidence = compare_with_live(live, subject, rows, EMPTY, timed=True)
        assert (evidence.live, evidence.measurements) == (live.digest, ())
        [finding] = evidence.findings
        assert finding.severity == "undecided" and reason in finding.message
