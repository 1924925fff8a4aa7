"""Train the live release anew on all that is labelled by now, and judge it against live on days neither learned from.

Each training is kept as soon as it is done, and so is the outcome: a run that was killed is taken up where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from headway.core import plugins
from headway.core.config import FILE
from headway.core.contracts import TransformContext
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.evidence import Evidence, Finding
from headway.core.record import read
from headway.core.search_result import Baseline, SearchResult
from headway.core.ticket import Ticket
from headway.core.training import Retraining, Training
from headway.core.variant import Variant
from headway.core.verdict import Verdict
from headway.data.contract.release import observed_contract
from headway.data.matrix import matrix
from headway.data.provenance.fingerprint import table_digest
from headway.data.split import labeled_rows, select_period
from headway.evaluation.comparison import open_variant, record_self_test
from headway.evaluation.statistics.seeds import pool_seeds
from headway.monitoring.deployed_release import DeployedRelease
from headway.monitoring.retraining.comparison import (
    HoldoutSet,
    judge_against_live,
    make_holdout,
    outcome_key,
    promotion_rules,
    rows_labeled_by,
)
from headway.optimization import search
from headway.optimization.training import Asked, recipe_digest, train
from headway.registry.project import Project
from headway.registry.provenance import origins

Callback = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RetrainingData:
    """What is learned from, and what is held out of it to judge by; `key` names the outcome.

    `findings` tell what changed of the rows that live had learned from.
    """

    rows: Dataset
    held: Dataset
    until: datetime
    end: datetime
    recipe: str
    key: str
    findings: tuple[Finding, ...] = ()


def prepare_retraining(
    project: Project, post: DeployedRelease, dataset: Dataset, until: datetime | None
) -> RetrainingData:
    """All rows labelled by a time since the first training began; the last `[retrain] judged_days` are held out.

    Raises DataError where live learned from days that would be held out: nothing new has come to judge by.
    """
    rows, end = rows_labeled_by(project, dataset, until)
    since = end - timedelta(days=project.config.retrain.judged_days)
    if since < post.trained_until:
        raise DataError(
            f"the last labelled days begin at {since:%F}, and the live release learned from days up to "
            f"{post.trained_until:%F}",
            where=f"{FILE} [retrain] judged_days",
            hint="wait for more labels",
        )
    begin = datetime.fromisoformat(post.training.since)
    learned = select_period(rows, begin, since, name="train")
    held = select_period(rows, since, end, name=f"{since:%Y-%m-%d} to {end:%Y-%m-%d}")
    code = recipe_digest(project.config)
    rules = [str(rule) for rule in promotion_rules(project.config.policy).release]
    digests = (post.digest, table_digest(learned.table), table_digest(held.table))
    key = outcome_key("retrain", *digests, code, project.config.retrain.seeds, rules)
    found = _changed_training_rows(project, post, dataset)
    return RetrainingData(rows=learned, held=held, until=since, end=end, recipe=code, key=key, findings=found)


def _changed_training_rows(project: Project, post: DeployedRelease, dataset: Dataset) -> tuple[Finding, ...]:
    """D065 where the rows that live had learned from are others now: all of its period, or those with an outcome."""
    since, until = (datetime.fromisoformat(text) for text in (post.training.since, post.training.until))
    try:
        then = select_period(dataset, since, until, name="train")
    except DataError as error:
        message = f"the rows that live learned from are gone: {error.what}"
        return (Finding(code="D065", severity="warn", message=message, where=error.where, hint="bring them back"),)
    if table_digest(labeled_rows(then).table) == post.training.dataset:
        return ()
    found = origins.changed_rows(project, then, post.training.dataset)
    return (found,) if found else ()


def retrain(
    project: Project,
    post: DeployedRelease,
    lesson: RetrainingData,
    *,
    ticket: Ticket | None = None,
    callback: Callback = lambda _: None,
) -> Retraining:
    """The live release trained anew in the form that live has, with the verdict against live; it moves no pointer.

    The first seed is what would be shipped; the others say how much of it is chance. Raises DataError where a check of
    the data says stop, ConfigError where the training function takes no seed though more than one is asked.
    """
    done = find_outcome(project, lesson.key)
    if done:
        return done
    for finding in lesson.findings:
        callback(f"{finding.severity} {finding.code}: {finding.message}; {finding.hint}")
    began = time.perf_counter()
    origins.save_versions(project, {"train": lesson.rows, "test": lesson.held}, code=lesson.recipe)
    trainings = _trainings(project, post, lesson, callback)
    callback("judge against live")
    frontier = _frontier(project, post, lesson, trainings)
    found = Retraining(
        name=project.name,
        key=lesson.key,
        live=post.digest,
        frontier=frontier,
        ticket=ticket,
        trainings=len(trainings),
        seconds=time.perf_counter() - began,
        message=_outcome_message(frontier.winner.verdict, trainings),
        findings=lesson.findings,
    )
    project.save(found)
    return found


def find_outcome(project: Project, key: str) -> Retraining | None:
    """What came of the same before, as it was kept last."""
    kept = reversed(project.records(Retraining))
    return next((each for each in kept if each.key == key), None)


def _trainings(project: Project, post: DeployedRelease, lesson: RetrainingData, callback: Callback) -> list[Training]:
    seeds = project.config.retrain.seeds
    asked = list(range(seeds)) if seeds > 1 else [None]
    found = []
    for number, seed in enumerate(asked, 1):
        callback(f"train {number}/{len(asked)} on {len(lesson.rows.table):,} rows")
        found.append(_training(project, post, lesson, seed))
    return found


def _training(project: Project, post: DeployedRelease, lesson: RetrainingData, seed: int | None) -> Training:
    """A training of a seed, the one that was kept if there is."""
    dataset = table_digest(lesson.rows.table)
    for content in project.state.records("training", name=project.name):
        kept = read(Training, content)
        if (kept.dataset, kept.recipe, kept.seed) == (dataset, lesson.recipe, seed):
            return kept
    began = time.perf_counter()
    names = post.release.variant.signature.names
    model = train(project.config, lesson.rows, project.blobs, features=names, asked=Asked(seed=seed))
    made = Training(
        dataset=dataset,
        recipe=lesson.recipe,
        model=model,
        since=post.training.since,
        until=lesson.until.isoformat(),
        judged_since=lesson.until.isoformat(),
        judged_until=lesson.end.isoformat(),
        n_rows=len(lesson.rows.table),
        seconds=time.perf_counter() - began,
        seed=seed,
    )
    project.save(made)
    return made


def _frontier(
    project: Project, post: DeployedRelease, lesson: RetrainingData, trainings: list[Training]
) -> SearchResult:
    held = make_holdout(post, lesson.held)
    first, *others = (each.model for each in trainings)
    shipped = _with_steps_of(project, post.release.variant, first, held)
    policy = promotion_rules(project.config.policy)
    of_others = [_evidence(project, held, model) for model in others]
    rows = [
        judge_against_live(project, variant, pool_seeds([_evidence(project, held, variant), *of_others]), policy)
        for variant in ([first] if shipped.digest == first.digest else [first, shipped])
    ]
    baseline = Baseline(
        model=first,
        threshold=post.release.threshold,
        data={"train": trainings[0].dataset, "test": held.digest},
        views=post.release.views,
        contract=observed_contract(
            matrix(lesson.rows.table, first.signature), first.signature, margin=project.config.policy.contract_margin
        ),
    )
    return SearchResult(
        name=project.name,
        baseline=baseline,
        judged=(rows[0],),
        winner=rows[-1],
        self_test=record_self_test(
            shipped, held.subject(shipped, open_variant(shipped, project.blobs)).rows, project.blobs
        ),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _evidence(project: Project, held: HoldoutSet, variant: Variant) -> Evidence:
    return held.measure(held.subject(variant, open_variant(variant, project.blobs)))


def _with_steps_of(project: Project, live: Variant, model: Variant, held: HoldoutSet) -> Variant:
    """The model in the form that live has: the same steps and settings; as it came where they no longer apply."""
    rows = held.subject(model, open_variant(model, project.blobs)).rows
    steps = [step.transform for step in live.steps if step.transform in plugins.names("transform")]
    made = (
        search.generate_candidates(model, TransformContext(blobs=project.blobs, sample=rows), steps) if steps else None
    )
    alike = (each for each in (made.variants if made else ()) if _form(each) == _form(live))
    return next(alike, model)


def _form(variant: Variant) -> tuple[object, ...]:
    return variant.engine, variant.steps, variant.settings


def _outcome_message(verdict: Verdict, trainings: list[Training]) -> str:
    first = trainings[0]
    seconds = sum(each.seconds for each in trainings)
    seeds = f"{len(trainings)} seeds" if len(trainings) > 1 else "one training"
    unmet = "; ".join(each.message for each in verdict.rule_results if each.answer != "pass")
    return (
        f"trained anew on {first.n_rows:,} rows before {first.until[:10]} ({seeds}, {seconds:.1f} s): "
        + ("shown to be better than live" if not unmet else f"{verdict.answer} against live: {unmet}")
        + f", on days from {first.judged_since[:10]} that neither learned from"
    )
