"""What is measured against the live release: drops for every task, changed decisions where the task decides."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.evaluation.conftest import subject_from
from tests.monitoring import rollouts

from headway.core.dataset import Dataset
from headway.core.evidence import Evidence, Machine
from headway.core.sections import DataSection
from headway.data.roles import parse_roles
from headway.registry.live import compare_with_live
from headway.registry.project import LiveRelease

EMPTY = Evidence(subject="", dataset="d", period="test", machine=Machine(cpu="", cores=1, system="", python=""))
LABELS = (np.arange(600) % 3 > 0).astype(np.float64)
LIVE = LABELS * 0.4 + 0.4
SCORES = np.where(np.arange(600) % 5, LIVE, 1 - LIVE)


def compared(folder: Path, task: str, classes: tuple[str, ...] = ()) -> Evidence:
    """Compare a model that errs in every fifth row with a live release that does not."""
    project, made = rollouts.project(folder), rollouts.release()
    signature = replace(made.variant.signature, classes=classes)
    made = replace(made, variant=replace(made.variant, task=task, signature=signature))
    bundle = project.registry.resolve(f"flights@{rollouts.publish(project, made)}")
    subject = subject_from(LABELS, SCORES, LIVE, np.arange(600) // 20, task=task)
    if classes:
        variant = replace(subject.variant, signature=replace(subject.variant.signature, classes=classes))
        subject = dataclasses.replace(subject, variant=variant, labels=LABELS[:, None])
    rows = Dataset(
        name="test",
        table=pl.DataFrame({"a": LIVE, "b": LIVE, "y": LABELS}),
        roles=parse_roles(DataSection(target="y")),
    )
    found = compare_with_live(LiveRelease(digest=bundle.digest, bundle=bundle), subject, rows, EMPTY)
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
