"""Release the winner of a search: evidence, verdict, threshold and self-test are part of what is signed."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.errors import Refused
from headway.core.record import Record
from headway.core.release import Contract, PointerUpdate, Release
from headway.core.search_result import SearchResult
from headway.core.verdict import Verdict
from headway.data.contract.release import agreed_contract
from headway.data.contract.table_contract import load_project_contract
from headway.registry.judge import override_verdict as overruled
from headway.registry.key_setup import KeySetup, init_keys
from headway.registry.model_registry import UpdateReason, now
from headway.registry.project import Project


class PublishedRelease(Record, frozen=True, kw_only=True):
    """The update that made a release live, and what was done to set up keys on this machine."""

    move: PointerUpdate
    enrolment: KeySetup


def release_winner(
    project: Project, frontier: SearchResult, *, who: str, why: str = "", override: str = ""
) -> PublishedRelease:
    """Publish the winner of a search and point `live` at it.

    Raises Refused if its verdict is not pass. `override` is the reason of a person who releases it nevertheless; it is
    signed together with the judge's own answers.
    """
    if override and frontier.winner.verdict.answer != "pass":
        verdict = overruled(frontier.winner.verdict, who=who, why=override, at=now().isoformat(timespec="seconds"))
        project.save(verdict)
        frontier = replace(frontier, winner=replace(frontier.winner, verdict=verdict))
    digest, enrolment = publish(project, frontier, who=who)
    reason = UpdateReason(
        who=who, why=why or (f"override: {override}" if override else _why(frontier)), verdict=frontier.winner.verdict
    )
    return PublishedRelease(move=project.register.point(f"{project.name}@live", digest, reason), enrolment=enrolment)


def publish(project: Project, frontier: SearchResult, *, who: str) -> tuple[str, KeySetup]:
    """Sign and save the winner of a search without moving a pointer; return its digest, with which a rollout starts.

    Raises Refused if its verdict is not pass.
    """
    winner = frontier.winner
    _expect_pass(winner.verdict, winner.variant.name)
    enrolment = init_keys(project.register.publisher_key, project.register.trusted_keys, comment=who)
    files = {f"model.{winner.variant.artifact.format}": project.blobs.get(winner.variant.artifact.digest)}
    return project.register.publish(_release(frontier, _contract(project, frontier), made_by=who), files), enrolment


def _contract(project: Project, frontier: SearchResult) -> Contract:
    """Return the project's current contract; without one, the ranges of the model's columns in its data."""
    agreed, contract = load_project_contract(project.config), frontier.baseline.contract
    return agreed_contract(contract, frontier.winner.variant.signature, agreed) if agreed else contract


def _expect_pass(verdict: Verdict, name: str) -> None:
    if verdict.answer != "pass":
        raise Refused(
            f"nothing is released: the verdict on {name} is {verdict.answer}",
            where="; ".join(
                rule_result.message for rule_result in verdict.rule_results if rule_result.answer != "pass"
            ),
            hint="headway optimize on more data, or with another policy under [[policy.release]]; a person may answer "
            'for it: headway release --override "WHY"',
        )


def _release(frontier: SearchResult, contract: Contract, *, made_by: str) -> Release:
    """Build the record of a release; `made_at` is the time of the search, so one search gives one release."""
    winner = frontier.winner
    searched = frontier.row(winner.variant.digest)
    return Release(
        name=frontier.name,
        variant=winner.variant,
        evidence=(*([searched.evidence] if searched else []), winner.evidence),
        verdict=winner.verdict,
        threshold=frontier.baseline.threshold,
        calibrator=frontier.baseline.calibrator,
        contract=contract,
        views=frontier.baseline.views,
        data=frontier.baseline.data,
        self_test=frontier.self_test,
        made_at=frontier.at,
        made_by=made_by,
    )


def _why(frontier: SearchResult) -> str:
    return f"fastest feasible of {len(frontier.evaluated)} variants: {frontier.winner.variant.name}"
