"""Labels that people gave to logged messages train the next model; only drawn ones are held out."""

from __future__ import annotations

from dataclasses import replace as replaced
from datetime import datetime
from itertools import compress
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.monitoring import audits, rollouts

from headway.core.dataset import Dataset, Roles
from headway.core.errors import DataError
from headway.core.variant import Field, Signature
from headway.evaluation.answer_plan import LabeledAnswers
from headway.evaluation.settings.answer import AnswerSection
from headway.monitoring.retraining import retrain
from headway.monitoring.retraining.logged_labels import with_logged_labels
from headway.registry.key_assignment import assign_key
from headway.registry.settings.fleet import FleetSection
from headway.storage import segments, traffic

TABLE = pl.DataFrame(
    {
        "a": [2.0, 3.0],
        "b": [1.0, 2.0],
        "note": ["x", "y"],
        "customer": ["anna", "bert"],
        "at": [datetime(2020, 1, 1), datetime(2020, 1, 2)],
        "intent": [0.0, 1.0],
    }
)
ROLES = Roles(
    target="intent", task="multiclass", classes=("refund", "delivery"), time="at", groups="customer", ignore=("note",)
)


@pytest.fixture
def project(tmp_path):
    """A project that draws half of the keys, with a live release that answers selectively."""
    opened = rollouts.project(tmp_path, toml=f"{rollouts.TOML}\n[answer]\naudit_share = 0.5\n")
    rollouts.live(opened, audits.answering())
    yield opened
    opened.state.close()
    opened.registry.state.close()


def _deployed(project):
    bundle = project.registry.resolve("flights@live")
    return SimpleNamespace(release=bundle.release, digest=bundle.digest)


def test_labels_of_people_are_rows_of_the_table_and_drawn_keys_are_held_out(project):
    dataset, deployed = Dataset(name="messages", table=TABLE, roles=ROLES), _deployed(project)
    keys = audits.log(project, deployed.digest, [0] * 40, audit=0)
    audits.label(project, dict.fromkeys(keys[:10], 0) | dict.fromkeys(keys[10:20], 1) | dict.fromkeys(keys[20:30], 2))
    audits.label(project, dict.fromkeys(keys[30:], 0), who="remote")

    joined, drawn, _ = with_logged_labels(project, deployed, dataset)

    logged = joined.table[2:]
    assert joined.table.schema == TABLE.schema
    assert logged["intent"].to_list() == [1.0] * 10 + [0.0] * 10, "classes of the table; an unknown one is left out"
    assert logged["customer"].to_list() == [f"log {key}" for key in keys[:20]]
    assert logged["note"].null_count() == 20 and logged["a"].to_list() == [1.0] * 20
    assert logged["at"][0] == datetime(2020, 2, 1, 12)
    chosen = [key for key in keys[:20] if assign_key(key, f"audit {deployed.digest}", 0.5)]
    assert 0 < len(chosen) < 20
    assert drawn.table[2:]["customer"].to_list() == [f"log {key}" for key in chosen]


def test_rows_of_devices_train_only_if_the_configuration_admits_them(project):
    dataset, deployed = Dataset(name="messages", table=TABLE, roles=ROLES), _deployed(project)
    keys = audits.log(project, deployed.digest, [0] * 4)
    state, name = project.config.state, "flights"
    for path in segments.segments(traffic.log_folder(state, name, deployed.digest)):
        columns = segments.load(path)
        marks = {"device": ["pump-1"] * len(columns["at_us"]), "release": [deployed.digest] * len(columns["at_us"])}
        segments.save(traffic.devices_folder(state, name), {**columns, **marks}, name=path.name)
        path.unlink()
    audits.label(project, dict.fromkeys(keys, 0))
    assert with_logged_labels(project, deployed, dataset).rows is dataset

    admitted = project.config.having(FleetSection(retrain=True))
    joined = with_logged_labels(replaced(project, config=admitted), deployed, dataset).rows
    assert joined.table[2:]["customer"].to_list() == [f"log {key}" for key in keys]


def test_a_message_that_the_table_has_is_not_added_again(project):
    table = TABLE.with_columns(a=pl.lit(1.0), b=pl.lit(1.0))
    dataset, deployed = Dataset(name="messages", table=table, roles=ROLES), _deployed(project)
    keys = audits.log(project, deployed.digest, [0] * 4)
    audits.label(project, dict.fromkeys(keys, 0))

    joined, drawn, _ = with_logged_labels(project, deployed, dataset)

    assert joined.table.equals(table) and drawn.table.equals(table)


def test_without_labels_or_a_plan_the_table_is_all_there_is(project):
    dataset, deployed = Dataset(name="messages", table=TABLE, roles=ROLES), _deployed(project)
    assert with_logged_labels(project, deployed, dataset) == (dataset, dataset, ()), "no request"
    keys = audits.log(project, deployed.digest, [0] * 4)
    assert with_logged_labels(project, deployed, dataset) == (dataset, dataset, ()), "no label"
    audits.label(project, dict.fromkeys(keys, 0))

    deployed.release = replace(deployed.release, answers=None)
    assert with_logged_labels(project, deployed, dataset) == (dataset, dataset, ())


def test_messages_of_earlier_releases_are_rows_by_the_oldest_message_and_the_last_label_of_a_key(project):
    earlier = _deployed(project).digest
    keys = audits.log(project, earlier, [0] * 20)
    audits.label(project, dict.fromkeys(keys, 0))
    rollouts.live(project, replace(audits.answering(), made_by="a retraining"))
    deployed = _deployed(project)
    assert deployed.digest != earlier
    later = audits.log(project, deployed.digest, [0] * 30, at_us=audits.NOON_US + audits.DAY_US)
    audits.label(project, dict.fromkeys(later[15:], 1))

    joined, drawn, findings = with_logged_labels(project, deployed, Dataset(name="messages", table=TABLE, roles=ROLES))

    logged, asked = joined.table[2:], [f"log {key}" for key in later]
    assert (logged["customer"].to_list(), findings) == (asked, ())
    assert logged["intent"].to_list() == [1.0] * 15 + [0.0] * 15, "the last label counts, under any release"
    assert logged["at"].dt.day().to_list() == [1] * 20 + [2] * 10, "the oldest message counts"
    digests = [earlier] * 20 + [deployed.digest] * 10
    is_drawn = [assign_key(key, f"audit {digest}", 0.5) for key, digest in zip(later, digests, strict=True)]
    assert drawn.table[2:]["customer"].to_list() == [f"log {key}" for key in compress(later, is_drawn)]


def test_a_label_names_a_class_of_the_release_that_was_live_when_it_was_given(project):
    earlier = _deployed(project).digest
    old, new = audits.log(project, earlier, [0] * 2), audits.log(project, earlier, [0] * 2, first=2)
    audits.label(project, {old[0]: 0, old[1]: 9})
    made = audits.answering()
    classes = ("account", "refund", "delivery")
    signature = Signature(inputs=(*made.variant.signature.inputs, Field(name="c")), classes=classes)
    rollouts.live(project, replace(made, variant=replace(made.variant, signature=signature), answers=None))
    rollouts.live(project, replace(made, variant=replace(made.variant, signature=signature)))
    audits.label(project, {new[0]: 2, new[1]: 1})
    table = TABLE.with_columns(c=pl.lit(1.0), key=pl.lit("a column of the table"))

    joined, _, _ = with_logged_labels(project, _deployed(project), Dataset(name="messages", table=table, roles=ROLES))

    logged = joined.table[2:]
    assert logged["customer"].to_list() == [f"log {key}" for key in (old[0], *new)]
    assert [ROLES.classes[int(number)] for number in logged["intent"]] == ["delivery", "delivery", "refund"]
    assert logged["c"].null_count() == logged["key"].null_count() == 3, "the earlier release did not read it"


def test_labels_of_a_release_that_answered_every_row_train_and_are_not_held_out(project):
    every = rollouts.live(project, replace(audits.answering(), answers=None))
    keys = audits.log(project, every, [0] * 20)
    audits.label(project, dict.fromkeys(keys, 0))
    rollouts.live(project, audits.answering())

    joined, drawn, _ = with_logged_labels(
        project, _deployed(project), Dataset(name="messages", table=TABLE, roles=ROLES)
    )

    assert (len(joined.table), len(drawn.table)) == (22, 2)


def test_a_release_that_is_gone_is_named_with_the_number_of_its_labeled_messages(project):
    audits.label(project, dict.fromkeys(audits.log(project, "sha256:" + "0" * 64, [0] * 4)[1:], 0))
    audits.log(project, "sha256:" + "1" * 64, [0] * 4, first=4)

    joined, _, findings = with_logged_labels(
        project, _deployed(project), Dataset(name="messages", table=TABLE, roles=ROLES)
    )

    assert joined.table.equals(TABLE)
    (found,) = findings
    assert (found.code, found.severity, found.where) == ("D067", "warn", "release 000000000000")
    assert "3 labeled messages do not train" in found.message and found.hint


def test_rows_of_a_table_without_times_are_older_than_logged_ones(project):
    roles = replace(ROLES, time="", groups="")
    dataset, deployed = Dataset(name="messages", table=TABLE.drop("at"), roles=roles), _deployed(project)
    deployed.training = SimpleNamespace(since="2020-01-15T00:00:00")
    audits.label(project, dict.fromkeys(audits.log(project, deployed.digest, [0] * 4), 0))

    joined, _, _ = with_logged_labels(project, deployed, dataset)

    assert [f"{at:%m-%d}" for at in joined.table[joined.roles.time]] == ["01-15"] * 2 + ["02-01"] * 4


def _answers(n: int) -> LabeledAnswers:
    """Answers that are right where the probability is high."""
    draw = np.random.default_rng(0)
    first = draw.uniform(0.5, 1.0, n)
    rest = np.column_stack([(1 - first) / 2, (1 - first) / 2])
    return LabeledAnswers(
        classes=audits.CLASSES,
        probabilities=np.column_stack([first, rest]),
        labels=(draw.random(n) > first).astype(np.int64),
        groups=None,
        threshold=0.5,
    )


@pytest.mark.slow
def test_a_new_certificate_is_made_on_the_later_half_and_compared_with_live(project, monkeypatch):
    answers = _answers(3_000)
    monkeypatch.setattr(retrain.LabeledAnswers, "of", lambda _: answers)
    config = project.config.having(AnswerSection(limit=0.2))
    limited = replaced(project, config=config)
    holdout = SimpleNamespace(deployed=_deployed(project), scores=answers.probabilities)
    subject = SimpleNamespace(groups=np.arange(3_000))

    found = retrain.certify_answers(limited, holdout, subject)

    assert found.plan is not None and found.plan.thresholds
    assert found.plan.certificate.coverage.n_rows == 1_500
    live = next(one for one in found.measurements if one.name == "answer.live_coverage")
    later = answers.probabilities[1_500:, 0]
    assert live.value == pytest.approx((later >= 0.6).mean())
    assert retrain.certify_answers(project, holdout, subject).plan is None, "without a limit it answers every row"
    with pytest.raises(DataError, match="one group of held-out rows"):
        retrain.certify_answers(limited, holdout, SimpleNamespace(groups=np.zeros(3_000, dtype=int)))
