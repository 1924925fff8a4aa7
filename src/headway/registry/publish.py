"""Release the winner of a search: evidence, verdict, threshold and self-test are part of what is signed."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.feature_view import FeatureView
from headway.core.record import Record
from headway.core.release import Contract, PointerUpdate, Release
from headway.core.search_result import SearchResult
from headway.core.verdict import OVERRIDE, EvaluatedVariant, Verdict
from headway.data.contract.discovery import agreed_contract, columns_read
from headway.data.contract.table_contract import load_project_contract
from headway.features.rules import views_read
from headway.registry.judge import override_verdict
from headway.registry.model_registry import UpdateReason, now
from headway.registry.project import Project, describe_other_live, find_live
from headway.registry.sign import KeySetup, init_keys


class PublishedRelease(Record, frozen=True, kw_only=True):
    """The update that made a release live, and what was done to set up keys on this machine."""

    move: PointerUpdate
    key_setup: KeySetup


def release_winner(
    project: Project, search: SearchResult, *, who: str, why: str = "", override: str = ""
) -> PublishedRelease:
    """Publish the winner of a search and point `live` at it.

    Raises Refused if its verdict is not pass, or if it was not compared with the release that is live, and PointerMoved
    if another process moves `live` at the same time. `override` is the reason of a person who releases it nevertheless;
    it is signed together with the judge's own answers.
    """
    live = f"{project.name}@live"
    before = project.registry.last_update(live)
    if not override:
        _expect_compared_with_live(project, search.winner)
    elif search.winner.verdict.answer != "pass" or _describe_other_live(project, search.winner):
        verdict = override_verdict(search.winner.verdict, who=who, why=override, at=now().isoformat(timespec="seconds"))
        project.save(verdict)
        search = replace(search, winner=replace(search.winner, verdict=verdict))
    reasons = dict.fromkeys(reason for reason in (why, f"override: {override}" if override else "") if reason)
    digest, key_setup = publish(project, search, who=who)
    reason = UpdateReason(who=who, why="; ".join(reasons) or _why(search), verdict=search.winner.verdict)
    move = project.registry.point(live, digest, reason, after=before.number if before else 0)
    return PublishedRelease(move=move, key_setup=key_setup)


def publish(project: Project, search: SearchResult, *, who: str) -> tuple[str, KeySetup]:
    """Sign and save the winner of a search without moving a pointer; return its digest, with which a rollout starts.

    Raises Refused if its verdict is not pass.
    """
    winner = search.winner
    _expect_pass(winner.verdict, winner.variant.name)
    key_setup = init_keys(project.registry.publisher_key, project.registry.trusted_keys, comment=who)
    files = {f"model.{winner.variant.artifact.format}": project.blobs.get(winner.variant.artifact.digest)}
    return project.registry.publish(_release(search, _contract(project, search), made_by=who), files), key_setup


def _contract(project: Project, search: SearchResult) -> Contract:
    """Return the project's current contract; without one, the ranges of the model's columns in its data."""
    agreed, contract = load_project_contract(project.config), search.baseline.contract
    signature = search.winner.variant.signature
    return agreed_contract(contract, signature, agreed) if agreed else columns_read(contract, signature)


def _expect_pass(verdict: Verdict, name: str) -> None:
    if verdict.answer != "pass":
        raise Refused(
            f"nothing is released: the verdict on {name} is {verdict.answer}",
            where="; ".join(
                rule_result.message for rule_result in verdict.rule_results if rule_result.answer != "pass"
            ),
            hint="headway optimize on more data, or with another policy under [[policy.release]] (in Python policy=); "
            f"to release it nevertheless: {OVERRIDE}",
        )


def _expect_compared_with_live(project: Project, winner: EvaluatedVariant) -> None:
    problem = _describe_other_live(project, winner)
    if problem and winner.verdict.answer == "pass" and not winner.verdict.overridden:
        raise Refused(
            f"nothing is released: {winner.variant.name} was not compared with the live release",
            where=problem,
            hint=f"headway evaluate, which compares them; to release it nevertheless: {OVERRIDE}",
        )


def _describe_other_live(project: Project, winner: EvaluatedVariant) -> str:
    """Return why the evidence does not compare the winner with the live release; empty if it does, or none is live."""
    live = find_live(project, winner.variant.digest)
    return describe_other_live(live, winner.evidence) if live else ""


def _release(search: SearchResult, contract: Contract, *, made_by: str) -> Release:
    """Build the record of a release; `made_at` is the time of the search, so one search gives one release."""
    winner = search.winner
    searched = search.row(winner.variant.digest)
    return Release(
        name=search.name,
        variant=winner.variant,
        evidence=(*([searched.evidence] if searched else []), winner.evidence),
        verdict=winner.verdict,
        baseline=search.baseline.model.digest,
        threshold=search.baseline.threshold,
        threshold_rule=search.baseline.threshold_rule,
        calibrator=search.baseline.calibrator,
        contract=contract,
        views=_views(search),
        data=search.baseline.data,
        self_test=search.self_test,
        answers=search.answers,
        training=search.baseline.training,
        made_at=search.at,
        made_by=made_by,
    )


def _views(search: SearchResult) -> tuple[FeatureView, ...]:
    """Return the views of a release: a variant without some features does not look up a view for them alone."""
    views, variant = search.baseline.views, search.winner.variant
    if variant.signature.names == search.baseline.model.signature.names:
        return views
    return views_read(views, variant.signature.names)


def _why(search: SearchResult) -> str:
    return f"fastest feasible of {len(search.evaluated)} variants: {search.winner.variant.name}"
