"""The model behind a device is certified together with the release of the device."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures

import headway
from headway.core.dataset import Dataset, Roles
from headway.core.errors import ConfigError
from headway.evaluation.answer_plan import LabeledAnswers
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.retraining.retrain import certify_answers
from headway.registry.forwarding import find_forwarding
from headway.registry.project import open_project
from headway.reporting.text.words import describe_answers

LIMIT = 0.05
PROJECT = """
[project]
name = "{name}"
state = "../store"
[trust]
publisher_key = "../keys/publisher.pem"
trusted_keys = "../keys/trusted.txt"
[policy]
floor = "none"
[answer]
limit = {limit}
stages = {stages}
"""


def make_folder(parent, name: str, *, stages: str = '["people"]', limit: float = LIMIT, more: str = ""):
    folder = parent / name
    folder.mkdir()
    (folder / "headway.toml").write_text(PROJECT.format(name=name, stages=stages, limit=limit) + more)
    return folder


def table(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows whose class depends on the first column where it is large, and else on the product of two others."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, 3))
    hard = np.abs(rows[:, 0]) < 1
    chance = np.where(hard, 1 / (1 + np.exp(-6 * rows[:, 1] * rows[:, 2])), rows[:, 0] > 0)
    return rows, (random.random(n) < chance).astype(int)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Release the model of a device, which knows one column, and return the folder, rows and labels."""
    parent = tmp_path_factory.mktemp("split")
    folder = make_folder(parent, "device", stages='["remote", "people"]')
    rows, labels = table(6_000, 1)
    model = LogisticRegression().fit(rows[:1000] * [1, 0, 0], labels[:1000])
    best = headway.optimize(model, rows[1000:], labels[1000:], budget="2s", transforms=[], folder=folder)
    assert best.answers is not None and best.answers.certificate.is_certified
    best.release(who="ann")
    return parent, rows, labels


def test_the_model_behind_a_device_is_certified_together_with_the_device(made):
    parent, rows, labels = made
    folder = make_folder(parent, "cloud", more='forwarded_by = "device@live"\n')
    model = make_pipeline(PolynomialFeatures(), LogisticRegression()).fit(rows[:1000], labels[:1000])

    plan = headway.optimize(model, rows[1000:], labels[1000:], budget="2s", transforms=[], folder=folder).answers

    device = open_project(folder).registry.resolve("device@live")
    assert plan.forwarded_by == device.digest and plan.certificate.is_certified
    assert f"together with the device's release {device.digest[7:19]}" in describe_answers(plan)
    of_device = device.release.answers.certificate
    assert plan.certificate.coverage.n_rows == of_device.coverage.n_rows, "the rows of both are counted"
    assert plan.certificate.coverage.value > of_device.coverage.value


def test_a_retrained_model_is_certified_together_with_the_device(made):
    parent, rows, labels = made
    project = open_project(make_folder(parent, "retrained", more='forwarded_by = "device@live"\n'))
    device = project.registry.resolve("device@live")
    model = make_pipeline(PolynomialFeatures(), LogisticRegression()).fit(rows[:1000], labels[:1000])
    held_out, truth = table(4_000, 2)
    names = device.release.variant.signature.names
    holdout = SimpleNamespace(
        dataset=Dataset(name="test", table=pl.DataFrame(held_out, schema=list(names)), roles=Roles(target="y")),
        deployed=SimpleNamespace(release=replace(device.release, answers=None)),
    )
    subject = SimpleNamespace(
        variant=device.release.variant,
        scores=model.predict_proba(held_out)[:, 1:],
        labels=truth,
        groups=np.arange(4_000),
        threshold=0.5,
    )

    found = certify_answers(project, holdout, subject)

    assert found.plan.forwarded_by == device.digest and found.plan.certificate.is_certified
    assert found.plan.certificate.coverage.n_rows == 2_000, "the later half, answered by either"
    assert found.plan.certificate.coverage.value > device.release.answers.certificate.coverage.value


def test_a_device_must_forward_rows_and_know_the_same_classes(made):
    parent, *_ = made
    registry = open_project(parent / "device").registry
    device = find_forwarding(registry, AnswerSection(forwarded_by="device@live"))
    names = device.bundle.release.variant.signature.names
    sure = Dataset(name="test", table=pl.DataFrame({name: [4.0, -4.0] for name in names}), roles=Roles(target="y"))
    answers = LabeledAnswers(
        classes=("0", "1"), probabilities=np.full((2, 1), 0.5), labels=np.array([1, 0]), groups=None, threshold=0.5
    )
    with pytest.raises(ConfigError, match="answers all 2 rows of test"):
        device.behind(answers, sure)
    with pytest.raises(ConfigError, match="has the classes 0, 1"):
        device.behind(dataclasses.replace(answers, classes=("a", "b")), sure)
    with pytest.raises(ConfigError, match=r"allows 0\.05 of its answers to be wrong, more than the 0\.01"):
        find_forwarding(registry, AnswerSection(forwarded_by="device@live", per_class=True, limit=0.01))


def test_a_release_that_answers_every_row_forwards_none(made):
    parent, rows, labels = made
    everything = make_folder(parent, "everything", limit=0.0)
    model = LogisticRegression().fit(rows[:1000], labels[:1000])
    headway.optimize(model, rows[1000:], labels[1000:], budget="2s", transforms=[], folder=everything).release(
        who="ann"
    )
    folder = make_folder(parent, "behind", more='forwarded_by = "everything@live"\n')

    with pytest.raises(ConfigError, match="everything@live has no answer plan") as error:
        headway.optimize(model, rows[1000:], labels[1000:], budget="2s", transforms=[], folder=folder)

    assert error.value.where == "[answer] forwarded_by"
