"""Rollout: a release on its way to live, stage by stage, and the decisions about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, to_builtins

from headway.core.evidence import former_measure
from headway.core.record import Record, StoredRecord, canonical, digest_of, read, write
from headway.core.verdict import Rule, Verdict

Action = Literal["stay", "advance", "promote", "roll back", "stop"]
RolloutStatus = Literal["running", "promoted", "rolled back", "inconclusive"]
ModelChange = Literal["same model", "new model", "not recorded"]
"""Another form of the live model, such as a faster engine, or a new model, such as a retraining."""
DAY_S = 86_400.0


class RolloutStage(Record, frozen=True, kw_only=True):
    """A stage at which the release answers a share of the keys in [0, 1); at 0 its answers are discarded (shadow).

    It advances after `min_requests` answers if the release is shown to be sound; shown harm rolls it back at any time.
    After `at_most_s` seconds without a decision the rollout ends inconclusive.
    """

    share: Annotated[float, Meta(ge=0, lt=1)]
    at_most_s: Annotated[float, Meta(gt=0)] = DAY_S
    min_requests: Annotated[int, Meta(ge=0)] = 0

    @property
    def name(self) -> str:
        """Name of the stage: `shadow`, or `canary 5 %`."""
        return f"canary {self.share * 100:.4g} %" if self.share else "shadow"


class Plan(Record, frozen=True, kw_only=True):
    """The stages of a rollout in order; after the last one the release is live."""

    stages: Annotated[tuple[RolloutStage, ...], Meta(min_length=1)] = (
        RolloutStage(share=0.0),
        RolloutStage(share=0.05),
        RolloutStage(share=0.25),
        RolloutStage(share=0.5),
    )


class Rollout(StoredRecord, frozen=True, kw_only=True):
    """A release compared with the live one: its stage, the rules it is judged by, and how it ended.

    `release` and `live` are digests; `salt` randomizes the assignment of keys. `rules` must pass for the next stage;
    those in `delayed_rules` count once they are measured, because labels may arrive after the rollout has ended. Both
    are fixed at the start, because they share one error rate; the limit on decisions that differ depends on `change`.
    `requests` counts those of the stage that the judge saw, `of_release` the release's; `RolloutTraffic` counts those
    of the whole rollout. `lost_rows` were lost by the log in the stage; the requests in these spans of time do not
    count.
    """

    former_names: ClassVar[Mapping[str, str]] = {"later": "delayed_rules", "standing": "status"}

    name: str
    release: str
    live: str
    salt: str
    rules: tuple[Rule, ...]
    delayed_rules: tuple[Rule, ...] = ()
    change: ModelChange = "not recorded"
    plan: Plan = Plan()
    stage: int = 0
    status: RolloutStatus = "running"
    requests: int = 0
    of_release: int = 0
    lost_rows: int = 0
    started_at: str = ""
    stage_at: str = ""
    by: str = ""
    why: str = ""

    @property
    def current(self) -> RolloutStage:
        """The current stage, or the last one."""
        return self.plan.stages[self.stage]

    @property
    def share(self) -> float:
        """Share of keys that the release answers now; 0 after the rollout has ended."""
        return self.current.share if self.status == "running" else 0.0

    @property
    def terms(self) -> str:
        """Digest of everything that is fixed at the start; each update of the canary is signed with it."""
        stored = read(Rollout, write(self))  # as stored, an integer given for a float is a float
        # Rules use the original names of measures, so that a rollout begun by an earlier version keeps its terms.
        rules, delayed = ([_as_first_named(rule) for rule in some] for some in (stored.rules, stored.delayed_rules))
        return digest_of(
            canonical([stored.name, stored.release, stored.live, stored.salt, rules, delayed, stored.plan])
        )


def _as_first_named(rule: Rule) -> dict[str, object]:
    return {**to_builtins(rule), "measure": former_measure(rule.measure)}


class RolloutTraffic(Record, frozen=True, kw_only=True):
    """Requests that the release of a rollout ran, by the log: of all its stages, however it ended.

    `answered` are those whose callers got its answer, `logged_only` those that it ran in shadow, or on which live
    answered because it failed. Where the log samples, they are estimated from the rows that were kept.
    """

    answered: int
    logged_only: int
    is_sampled: bool = False


class Decision(Record, frozen=True, kw_only=True):
    """An action for a rollout, the verdict behind it, and the reason in one sentence.

    `stay` waits for more requests; `stop` ends the rollout inconclusive: nothing was shown in time, so live stays live.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

    action: Action
    verdict: Verdict
    message: str
