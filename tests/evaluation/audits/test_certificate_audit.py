"""Audit `certificate`: shares certified at radii, and models that have no certificate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.evaluation.attacked_models import attacked_by, table
from tests.evaluation.audits.test_attack import of

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Artifact, Step
from headway.evaluation.audits import certificate
from headway.evaluation.comparison import select_rows
from headway.evaluation.context import AuditContext
from headway.evaluation.settings.attack import AttackSection
from headway.storage.blobs.files import Files


def subject_of(model, context):
    """Return a comparison of a fitted model, whose decision is that wind is strong, with itself."""
    rows = np.nan_to_num(table(400))
    model.fit(rows, rows[:, 0] > 0.5)
    engine = load_engine("sklearn")
    content = engine.import_model(model).content
    opened = engine(content, {})

    class Opened:
        def predict(self, rows):
            return opened.predict(np.nan_to_num(rows))

    subject = attacked_by(Opened(), count=400)
    artifact = Artifact(format="joblib", digest=context.blobs.put(content), size_bytes=len(content))
    return replace(
        subject, variant=changed(subject.variant, engine="sklearn", artifact=artifact), rows=np.nan_to_num(subject.rows)
    )


@pytest.fixture
def context(tmp_path):
    return AuditContext(blobs=Files(tmp_path), budget_s=600)


@pytest.fixture
def subject(context):
    return subject_of(RandomForestClassifier(5, max_depth=2, random_state=0), context)


def test_shares_fall_with_the_radius_and_are_those_of_the_distances(subject, context):
    found = certificate.plugin(subject, context)
    shares = [of(found, "evasion.certified")[f"radius {radius:g}"].value for radius in certificate.RADII]
    assert shares == sorted(shares, reverse=True) and shares[0] > 0.9 and shares[-1] < 0.9
    assert of(found, "certificate.exact")[""].value == 1.0
    assert of(found, "evasion.certified")[""].value == of(found, "evasion.certified")["radius 0.05"].value
    distance = of(found, "certificate.distance")[""]
    assert 0 < distance.low <= distance.value <= distance.high and distance.n_rows == 200
    assert "by the trees or weights of the variant" in of(found, "evasion.certified")["radius 0.1"].method


def test_a_column_that_cannot_change_makes_rows_more_robust(subject, context):
    free, fixed = (
        of(certificate.plugin(subject, replace(context, attack=AttackSection(fixed=names))), "evasion.certified")
        for names in ((), ("wind",))
    )
    assert fixed["radius 0.5"].value > free["radius 0.5"].value


def stepped(subject, *transforms):
    """Return the subject with an engine that exposes nothing, made by these steps."""
    steps = tuple(Step(transform=name) for name in transforms)
    return replace(subject, variant=changed(subject.variant, engine="echo", steps=steps))


def test_a_variant_whose_steps_keep_decisions_has_the_certificate_of_the_baseline(subject, context):
    context = replace(context, baseline=subject.variant)
    found = certificate.plugin(stepped(subject, "trees", "round"), context)
    assert "by the trees or weights of the baseline" in of(found, "evasion.certified")["radius 0.1"].method
    with pytest.raises(NotApplicable, match="step 'self_distil' may change decisions of the baseline"):
        certificate.plugin(stepped(subject, "self_distil", "trees"), context)


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_variant_that_decides_otherwise_than_what_is_certified_is_refused(is_compiled, subject, context):
    context = replace(context, baseline=subject.variant)
    other = replace(stepped(subject, "trees") if is_compiled else subject, scores=1 - subject.scores)
    whose = "the baseline" if is_compiled else "the variant"
    with pytest.raises(NotApplicable, match=f"does not decide as the trees or weights of {whose}: 200 of 200 rows"):
        certificate.plugin(other, context)


def test_rows_at_a_tie_are_certified_nothing_and_do_not_refuse_the_others(context):
    votes = RandomForestClassifier(200, max_samples=20, max_features=1, random_state=2)  # a share of 1 / 200 is rounded
    subject = subject_of(votes, context)
    ties = np.flatnonzero(subject.scores[:, 0] == 0.5)[:1]
    clear = np.flatnonzero(np.abs(subject.scores[:, 0] - 0.5) > 0.3)[:20]
    assert len(ties)
    found = certificate.plugin(select_rows(subject, np.append(ties, clear)), context)
    assert of(found, "evasion.certified")["radius 0.01"].value == pytest.approx(20 / 21)


def test_a_logistic_regression_is_certified_in_closed_form(context):
    found = certificate.plugin(subject_of(make_pipeline(StandardScaler(), LogisticRegression()), context), context)
    assert of(found, "certificate.exact")[""].value == 1.0
    assert 0 < of(found, "certificate.distance")[""].value < 1


def test_other_models_are_refused_by_name(context):
    with pytest.raises(NotApplicable, match="GaussianNB is not a sum of tree leaves; its answer is not the sigmoid"):
        certificate.plugin(subject_of(GaussianNB(), context), context)
    subject = subject_of(RandomForestClassifier(2, random_state=0), context)
    with pytest.raises(NotApplicable, match="engine 'echo' exposes no trees or weights"):
        certificate.plugin(replace(subject, variant=changed(subject.variant, engine="echo")), context)


def test_a_subject_without_numbers_that_may_change_or_with_other_columns_is_refused(subject, context):
    numbers = AttackSection(fixed=("wind", "seats", "fare"))
    with pytest.raises(NotApplicable, match="no number may change"):
        certificate.plugin(subject, replace(context, attack=numbers))
    fewer = replace(subject, inputs=subject.fields[:3], rows=subject.rows[:, :3])
    with pytest.raises(NotApplicable, match="its model reads 5 columns, the rows have 3"):
        certificate.plugin(fewer, context)


def test_too_little_time_is_not_applicable(subject, context):
    with pytest.raises(NotApplicable, match="time ran out"):
        certificate.plugin(subject, replace(context, budget_s=0.0))
