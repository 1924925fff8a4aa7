"""Audit `membership`: whether answers distinguish the rows that a model was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from msgspec.structs import replace as changed
from tests.evaluation.audits.retraining import retrained_by
from tests.evaluation.membership_worlds import Memorises, world

from headway.core.contracts import SliceColumn
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.core.variant import Step
from headway.data.split import half_of_groups
from headway.evaluation.audits import membership

WHOLE = "privacy.membership.tpr_1pct"


def run(made):
    """Return the measurements of a world by name and slice, and the reasons for what was not measured."""
    results = membership.plugin(made.subject, made.context)
    found = {(one.name, one.slice): one for one in results if isinstance(one, Measurement)}
    return found, [one.what for one in results if isinstance(one, NotApplicable)]


def names(found, name):
    return [slice for measure, slice in found if measure == name]


def test_a_model_that_memorises_its_rows_is_found_by_every_attack():
    found, _ = run(world(leak=3.0))
    for attack in ("lira", "few shadows", "rmia", "population", "label only", ""):
        assert found["privacy.membership.auc", attack].low > 0.5
    assert found[WHOLE, ""].low > 0.3
    assert found[WHOLE, "this model, its other rows known"].low > 0.01


def test_a_recipe_that_remembers_nothing_is_not_accused():
    found, _ = run(world(leak=0.0))
    assert found["privacy.membership.auc", ""].low <= 0.5 <= found["privacy.membership.auc", ""].high
    assert found[WHOLE, ""].low <= 0.01 <= found[WHOLE, ""].high
    assert found["privacy.membership.exposed", ""].value == 0


def test_rows_that_are_given_away_are_named_by_their_position_without_their_values():
    made = world(leak=lambda rows: np.where(rows[:, 0] < 4, 6.0, 0.0))
    found, _ = run(made)
    exposed = names(found, "privacy.membership.row")
    assert set(exposed) == {"row 0", "row 1", "row 2", "row 3"}
    assert found["privacy.membership.exposed", ""].value == 4
    assert all(found["privacy.membership.row", row].low > 0.5 for row in exposed)


def test_exposed_rows_are_not_counted_with_too_few_models():
    made = world(leak=6.0)
    made.context = replace(made.context, halves=range(20))
    found, reasons = run(made)
    assert ("privacy.membership.exposed", "") not in found
    assert any("privacy.membership.exposed needs 12 attacked models, there are 10" in reason for reason in reasons)


def test_each_group_of_people_with_enough_rows_has_its_own_rate():
    made = world(leak=lambda rows: np.where(rows[:, 1] > 0, 4.0, 0.0), groups=200)
    found, _ = run(made)
    assert found[WHOLE, "side=right"].low > found[WHOLE, "side=left"].high
    rare = SliceColumn(codes=(made.data.rows[:, 0] < 50).astype(np.int64), values=("rest", "few"))
    few = replace(made.data, slices={"who": rare})
    found, _ = run(replace(made, context=replace(made.context, train=lambda: few)))
    assert names(found, WHOLE)[-3:] == ["who=rest", "this model", "this model, its other rows known"]


def test_a_curve_of_rates_is_drawn_by_its_measurements():
    found, _ = run(world(leak=1.0))
    curve = {float(slice): found["privacy.membership.roc", slice] for slice in names(found, "privacy.membership.roc")}
    assert list(curve) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    assert curve[0.01].value == found[WHOLE, ""].value
    assert all(low.value <= high.value for low, high in zip(curve.values(), list(curve.values())[1:], strict=False))


def test_a_rate_of_fewer_non_members_than_it_flags_is_refused_by_name():
    found, reasons = run(world(leak=0.0))
    assert ("privacy.membership.tpr_0.1pct", "") not in found
    assert any("0.1% false positives needs 2,000 rows that the model was not trained on" in why for why in reasons)


def test_without_a_recipe_the_model_itself_is_attacked():
    found, reasons = run(world(leak=4.0, recipe=False, groups=60))
    assert found["privacy.membership.auc", "population"].low > 0.5
    assert found["privacy.membership.auc", "label only"].low > 0.5
    assert any("the model cannot be retrained" in why for why in reasons)
    found, _ = run(world(leak=0.0, recipe=False))
    assert found["privacy.membership.auc", ""].low <= 0.5


def test_rows_with_a_time_need_a_recipe():
    made = world(leak=4.0, recipe=False)
    months = SliceColumn(codes=np.zeros(len(made.subject.rows), dtype=np.int64), values=("2026-01",))
    with pytest.raises(NotApplicable, match=r"a difference may be drift.*no shadow models") as refused:
        run(replace(made, context=replace(made.context, months=months)))
    assert 'train = "train:train"' in refused.value.hint


def test_the_variant_itself_counts_if_it_leaks_more_than_its_recipe():
    found, _ = run(world(leak=0.0, leaks_itself=6.0))
    assert found[WHOLE, "rmia"].high < 0.1
    assert found[WHOLE, ""].value == found[WHOLE, "this model"].value > 0.2
    assert found[WHOLE, ""].method.startswith("this model; ")
    assert found[WHOLE, ""].effort.attack == "population" and not found[WHOLE, ""].effort.is_complete
    assert "[model] train" in found[WHOLE, ""].effort.hint


def test_the_attacker_who_knows_the_other_rows_of_this_model_is_kept_apart():
    """He sees more of a model than those who attack models of other halves."""
    auc, known = "privacy.membership.auc", "this model, its other rows known"
    found, _ = run(world(leak=0.3, leaks_itself=0.8, noise=0.8))
    assert found[auc, known].low > found[auc, ""].high
    best = found[auc, ""].effort.attack
    assert best in ("lira", "rmia")
    assert found[auc, ""].value == found[auc, best].value
    assert found[auc, known].effort.attack == best and found[auc, "this model"].effort.attack == "population"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: {"train": lambda: None}, "no row is a member"),
        (
            lambda made: {"train": lambda: replace(made.data, groups=np.arange(500) // 50)},
            "the training rows have 10 groups, and 20 are needed",
        ),
    ],
)
def test_without_members_nothing_is_judged(change, message):
    made = world(leak=1.0)
    with pytest.raises(NotApplicable, match=message):
        run(replace(made, context=replace(made.context, **change(made))))


def test_a_task_without_a_label_of_each_row_is_refused():
    made = world(leak=1.0)
    ranking = replace(made.subject, variant=changed(made.subject.variant, task="ranking"))
    with pytest.raises(NotApplicable, match="the rows of a ranking have no label each"):
        run(replace(made, subject=ranking))


def test_trainings_that_take_too_long_leave_the_attack_on_the_model_itself():
    made = world(leak=4.0)
    found, reasons = run(replace(made, context=replace(made.context, budget_s=1e-9)))
    assert ("privacy.membership.auc", "population") in found
    assert any("0 pairs of models were trained in 0 s, and 6 are needed" in why for why in reasons)


def test_every_measurement_has_the_number_of_shadow_models_as_its_effort():
    made = world(leak=1.0)
    few = replace(made.context, halves=range(14))
    for context, done in ((few, 14), (made.context, 64), (replace(made.context, budget_s=1e-9), 0)):
        found, _ = run(replace(made, context=context))
        assert {(one.effort.done, one.effort.registered) for one in found.values()} == {(done, 24)}
        assert found[WHOLE, ""].effort.is_complete == (done >= 24)
    assert found[WHOLE, ""].effort.attack == "population"
    assert found[WHOLE, "label only"].effort.attack == "label only"


def test_models_that_were_trained_before_the_time_ran_out_are_counted_and_the_hint_is_to_run_again():
    made = world(leak=1.0)

    def some(tasks, proceed):
        yield from made.context.retrain(tasks[:6], lambda: True)

    found, _ = run(replace(made, context=replace(made.context, retrain=some)))
    assert str(found[WHOLE, ""].effort) == "attack 'population' with 6 of 24 shadow models"
    assert found[WHOLE, ""].effort.hint.startswith("run again, stored ones are reused: headway evaluate")
    found, _ = run(world(leak=4.0, recipe=False, groups=60))
    assert 'train = "train:train"' in found[WHOLE, ""].effort.hint


def test_models_with_other_outputs_are_left_out():
    made = world(leak=0.0)

    class Broken:
        def predict(self, rows):
            return np.zeros((len(rows), 3))

    def learn(task):
        inside = half_of_groups(made.data.groups, task.half)
        own = Memorises(made.data.rows[inside, 0], made.data.labels[inside], leak=0.0, noise=0.5, seed=task.seed)
        return Broken() if task.half % 8 == 0 else own

    found, _ = run(replace(made, context=replace(made.context, retrain=retrained_by(learn))))
    assert found["privacy.membership.models", ""].method.startswith("models attacked, of 64 trained")
    assert found["privacy.membership.models", ""].value == 24  # of 24 pairs those of odd number


def test_a_variant_whose_steps_cannot_be_repeated_is_attacked_itself():
    made = world(leak=4.0)
    variant = changed(made.subject.variant, steps=(Step(transform="prune"),))
    found, reasons = run(replace(made, subject=replace(made.subject, variant=variant)))
    assert found["privacy.membership.auc", ""].low > 0.5
    assert any("steps of the variant cannot be repeated" in why for why in reasons)


def test_a_regression_is_attacked_by_its_errors():
    made = world(leak=2.0)
    numbers = replace(made.subject, variant=changed(made.subject.variant, task="regression"))
    found, _ = run(replace(made, subject=numbers))
    assert found["privacy.membership.auc", "lira"].low > 0.5
    assert ("privacy.membership.auc", "label only") not in found


def test_shadow_models_of_an_unknown_training_may_show_a_leak_and_are_not_an_attack_in_full():
    made = world(leak=3.0)
    found, reasons = run(replace(made, context=replace(made.context, knows_training=False)))
    assert found[WHOLE, ""].low > 0.3
    assert str(found[WHOLE, ""].effort) == "attack 'lira' with 0 of 24 shadow models known to be made as this model"
    assert any("it is not known whether the training function makes this model" in reason for reason in reasons)
    no_recipe = world(leak=3.0, recipe=False)
    _, reasons = run(replace(no_recipe, context=replace(no_recipe.context, knows_training=False)))
    assert not any("not known whether" in reason for reason in reasons)


def test_a_training_that_changed_is_not_attacked_in_place_of_the_model():
    made = world(leak=0.0, leaks_itself=6.0)

    def refuse(tasks, proceed):
        raise NotApplicable("what this model was trained with has changed (code)", hint="headway optimize")

    found, reasons = run(replace(made, context=replace(made.context, retrain=refuse)))
    assert (WHOLE, "rmia") not in found and found[WHOLE, "population"].low > 0.01
    assert found[WHOLE, ""].effort.done == 0 and found[WHOLE, ""].effort.hint == "headway optimize"
    assert "what this model was trained with has changed (code)" in reasons
