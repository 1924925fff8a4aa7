"""Context of the audits: a model retrained on fewer columns, its training data, and the months of the rows."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from msgspec.structs import replace
from tests.pipeline.projects import TRAIN, write

from headway import pipeline
from headway.core.errors import ConfigError, NotApplicable
from headway.core.provenance import TrainingDigests
from headway.core.record import digest_of
from headway.core.training import TrainingTask
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.workers import always
from headway.data.split import labeled_rows
from headway.evaluation.audit_context import SavedShadows, build_audit_context
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.settings.evaluate import EvaluateSection
from headway.optimization.training import TrainedModel
from headway.registry.project import open_project

pytestmark = pytest.mark.slow
UNKNOWN = TrainingDigests()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("small"))
    (folder / "mine.py").write_text(TRAIN.replace("labels):", "labels, *, seed=0):").replace('["carrier"]', '"auto"'))
    project = open_project(folder)
    data = pipeline.periods(project)
    model = pipeline.train(project, data).model
    return build_audit_context(
        project.config, data, project.blobs, signature=model.signature, judged=data["test"], made_with=UNKNOWN
    ), data


def test_a_model_is_retrained_on_the_named_columns(made):
    context, _ = made
    ((_, model),) = context.retrain([TrainingTask(features=("hour", "wind"), seed=1)], always)
    assert model.predict(np.array([[20.0, 30.0]])).shape == (1, 1)


def test_it_has_the_labeled_rows_of_train_and_the_months_of_the_evaluated_rows(made):
    context, data = made
    assert len(context.train().rows) == len(labeled_rows(data["train"]).table)
    assert context.months.values == ("2013-03", "2013-04")
    assert len(context.months.codes) == len(labeled_rows(data["test"]).table)


def test_without_a_recipe_nothing_is_trained(made, tmp_path):
    _, data = made
    project = open_project(write(tmp_path))
    signature = pipeline.train(project, data).model.signature
    rest = {"test": data["test"]}
    bare = build_audit_context(
        project.config, rest, project.blobs, signature=signature, judged=data["test"], made_with=UNKNOWN
    )
    assert bare.retrain is None and bare.train() is None


def test_features_that_belong_together_are_some_that_the_model_reads(made, tmp_path):
    _, data = made
    project = open_project(write(tmp_path))
    signature = pipeline.train(project, data).model.signature
    config = project.config.having(replace(project.config[EvaluateSection], together=(("hour", "tide"),)))
    with pytest.raises(ConfigError, match="no feature 'tide'"):
        build_audit_context(config, data, project.blobs, signature=signature, judged=data["test"], made_with=UNKNOWN)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (AttackSection(fixed=("tide",)), "no feature 'tide'"),
        (AttackSection(bounds={"tide": (0.0, 1.0)}), "no feature 'tide'"),
        (AttackSection(bounds={"wind": (2.0, 1.0)}), "the bounds of 'wind' are empty"),
        (AttackSection(bounds={"wind": (float("nan"), 1.0)}), "the bounds of 'wind' are empty"),
        (AttackSection(bounds={"carrier": (0.0, 1.0)}), "'carrier' is categorical and has no bounds"),
        (AttackSection(fixed=("wind",), bounds={"wind": (0.0, 1.0)}), "'wind' is both fixed and bounded"),
    ],
)
def test_limits_of_an_attack_must_name_features_of_the_model(made, tmp_path, limits, message):
    context, data = made
    carrier = Field(name="carrier", datatype="BYTES", categories=("AA", "B6"))
    signature = Signature(inputs=(Field(name="hour"), Field(name="wind"), carrier))
    config = open_project(write(tmp_path)).config.having(limits)
    with pytest.raises(ConfigError, match=message) as raised:
        build_audit_context(config, data, context.blobs, signature=signature, judged=data["test"], made_with=UNKNOWN)
    assert "[attack" in raised.value.where and raised.value.hint


def test_a_model_without_a_seed_is_not_retrained(made, tmp_path):
    _, data = made
    project = open_project(write(tmp_path))
    signature = pipeline.train(project, data).model.signature
    assert (
        build_audit_context(
            project.config, data, project.blobs, signature=signature, judged=data["test"], made_with=UNKNOWN
        ).retrain
        is None
    )


def test_the_model_is_retrained_with_balanced_classes_on_request(made):
    context, _ = made
    rows, labels = context.train().rows, context.train().labels
    names = ("hour", "wind", "carrier")
    tasks = [TrainingTask(features=names, seed=1, balanced=balanced) for balanced in (False, True)]
    plain, balanced = (model.predict(rows)[:, 0] for _, model in context.retrain(tasks, always))
    assert plain.mean() == pytest.approx(labels.mean(), abs=0.01)
    assert sum(balanced[labels == item].mean() for item in (0, 1)) / 2 == pytest.approx(0.5, abs=0.02)


def test_paraphrases_are_read_for_a_model_that_reads_texts(made, tmp_path):
    _, data = made
    project = open_project(write(tmp_path))
    (tmp_path / "ours.csv").write_text("phrase,paraphrase\nmy parcel,the box\n")
    config = project.config.having(replace(project.config[EvaluateSection], paraphrases="ours.csv"))
    texts = Signature(inputs=(Field(name="message", datatype="BYTES", is_text=True),))
    numbers = Signature(inputs=(Field(name="hour"),))
    found = [
        build_audit_context(
            config, data, project.blobs, signature=signature, judged=data["test"], made_with=UNKNOWN
        ).paraphrases
        for signature in (texts, numbers)
    ]
    assert found == [{"phrases of ours.csv": [("my parcel", "the box")]}, {}]


COUNTED = """
import shadow_helper
def train(rows, labels, *, seed=0):
    with open(__file__ + ".count", "a") as file:
        file.write("x")
    return shadow_helper.fit(rows, labels, seed)
"""
HELPER = """
from sklearn.linear_model import LogisticRegression
def fit(rows, labels, seed):
    return LogisticRegression(max_iter=20).fit(rows.select("hour").to_numpy(), labels)
"""


def shadows(folder, tasks, *, made_with=UNKNOWN):
    """Train shadow models as an audit of this project does; return them by number, and how often the code ran."""
    project = open_project(folder)
    data = pipeline.periods(project)
    counter = folder / "mine.py.count"
    counter.write_text("")
    context = build_audit_context(
        project.config,
        data,
        project.blobs,
        signature=Signature(inputs=(Field(name="hour"),)),
        judged=data["test"],
        made_with=made_with,
        state=project.state,
    )
    return dict(context.retrain(tasks, always)), len(counter.read_text())


@pytest.fixture
def counted(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    folder = write(tmp_path)
    (folder / "mine.py").write_text(COUNTED)
    (folder / "shadow_helper.py").write_text(HELPER)
    return folder


TASKS = [TrainingTask(features=("hour",), seed=half, half=half) for half in (0, 1)]


def test_shadow_models_are_stored_and_a_second_run_resumes(counted):
    first, trained = shadows(counted, TASKS[:1])
    assert trained == 1
    both, trained = shadows(counted, TASKS)
    assert (sorted(both), trained) == ([0, 1], 1)
    rows = np.array([[3.0], [20.0]])
    assert np.array_equal(first[0].predict(rows), both[0].predict(rows))
    assert shadows(counted, [TrainingTask(features=("hour",), seed=0)])[1] == 1  # a model of all rows is not stored


@pytest.mark.parametrize("change", ["code", "imported code", "settings", "rows"])
def test_shadow_models_of_other_code_settings_or_rows_are_trained_again(counted, change):
    shadows(counted, TASKS)
    toml = (counted / "headway.toml").read_text()
    if change == "code":
        (counted / "mine.py").write_text(COUNTED + "# changed\n")
    elif change == "imported code":
        (counted / "shadow_helper.py").write_text(HELPER.replace("max_iter=20", "max_iter=30"))
    elif change == "settings":
        (counted / "headway.toml").write_text(toml.replace("[model]", '[model]\nclass_weight = "balanced"'))
    else:
        (counted / "headway.toml").write_text(toml.replace('train = ["2013-01-01"', 'train = ["2013-01-02"'))
    assert shadows(counted, TASKS)[1] == 2
    assert shadows(counted, TASKS)[1] == 0


def test_a_stored_shadow_model_that_is_gone_is_trained_again(counted):
    shadows(counted, TASKS)
    for file in (counted / ".headway").rglob("*"):
        if file.is_file() and "blobs" in file.parts:
            file.unlink()
    assert shadows(counted, TASKS)[1] == 2


def test_a_stored_shadow_model_that_could_run_code_is_not_opened(tmp_path):
    project = open_project(write(tmp_path))
    saved = SavedShadows(project.config, project.state, project.blobs)
    for content, format in ((pickle.dumps(print), "pkl"), (b'{"answer": 1}', "json")):
        artifact = Artifact(digest=digest_of(content), format=format, size_bytes=len(content))
        variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=()))
        task = TrainingTask(features=(format,), seed=0, half=0)
        saved.save("key", task, TrainedModel(variant=variant, content=content, seconds=0.1))
    assert [task.features for task in saved.find("key")] == [("json",)]
    assert saved.find("another key") == {}


@pytest.mark.parametrize("change", ["code", "settings", "rows"])
def test_a_model_that_was_trained_otherwise_is_not_retrained_in_its_place(counted, change):
    project = open_project(counted)
    data = pipeline.periods(project)
    baseline = pipeline.train(project, data, features=["hour"])
    assert baseline.training.is_known
    assert shadows(counted, TASKS, made_with=baseline.training)[1] == 2
    toml = counted / "headway.toml"
    if change == "code":
        (counted / "shadow_helper.py").write_text(HELPER.replace("max_iter=20", "max_iter=1"))
    elif change == "settings":
        toml.write_text(toml.read_text().replace("[model]", '[model]\nclass_weight = "balanced"'))
    else:
        toml.write_text(toml.read_text().replace('train = ["2013-01-01"', 'train = ["2013-01-02"'))
    with pytest.raises(NotApplicable, match=rf"trained with has changed \({change}\)") as refused:
        shadows(counted, TASKS, made_with=baseline.training)
    assert "headway optimize" in refused.value.hint

    changed = open_project(counted)
    data = pipeline.periods(changed)
    evaluation_set = pipeline._evaluation_set(changed, baseline, data["validation"])
    assert pipeline._transform_context(changed, baseline, evaluation_set, data).retrain is None
