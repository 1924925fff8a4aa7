"""Verdict: pass, fail or undecided, with the rule and the measurement behind each; and tests of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.evidence import Evidence, Measurement, current_measure
from headway.core.record import FormerValues, Record, StoredRecord
from headway.core.variant import Variant

Answer = Literal["pass", "fail", "undecided"]
QUANTILES = {"change.p50": 0.5, "change.p90": 0.9, "change.p99": 0.99, "change.p999": 0.999}
RELATIVE = (
    *("decision_churn", "decision_churn.near", "max_change", "max_change.relative"),
    *("probability_shift", *QUANTILES),
)
"""Measures of how far answers moved from another model's, `QUANTILES` of them those of the change over rows."""
SLICES = "worst_slice."
"""Prefix of the rules on every slice of a measure."""
OVERRIDE = 'headway release --override "WHY", in Python best.release(override="WHY")'
"""How a person releases what did not pass."""
LIVE = "live."
"""Prefix of the measures that compare with the release that is live."""
PRIVACY = ("privacy.", "extraction.")
"""Beginnings of the measures of what callers can learn from answers."""
ATTACKS = (*PRIVACY, "attack.", "evasion.distance", "evasion.queries", "evasion.success")
"""Beginnings of the measures of attacks: a rule on them is met only by an attack that was run in full."""
_NOT_OF_ANSWERS = (
    *("latency.", "throughput.", "load.", "start.", "components."),
    *("cost.per_million.", "cost.cpu_s.", "cost.energy_j."),
    *("test_evaluations", "threshold", "base_rate"),
    "extraction.",
)


class Rule(Record, frozen=True, kw_only=True):
    """One line of a policy: a measure and its limit, `at_most` or `at_least`."""

    former_values: ClassVar[Mapping[str, FormerValues]] = {"measure": current_measure}

    measure: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def relative(self) -> bool:
        """True if the measure compares with the baseline: such rules decide which variants are feasible."""
        return not self.measure.startswith(LIVE) and self.measure.endswith((".drop", *RELATIVE))

    @property
    def private(self) -> bool:
        """True if the measure is of what callers can learn from answers: a search measures it for its candidates."""
        return self.measure.removeprefix(SLICES).startswith(PRIVACY)

    @property
    def absolute(self) -> bool:
        """True if the measure judges the answers alone, so that not every baseline meets the rule.

        Rules on speed and on counts are not absolute: a model that knows nothing meets them as well.
        """
        return not self.relative and not self.measure.startswith((LIVE, *_NOT_OF_ANSWERS))

    def __str__(self) -> str:
        word, limit = ("at most", self.at_most) if self.at_most is not None else ("at least", self.at_least)
        return f"{self.measure} {word} {limit:g}"


class RuleResult(Record, frozen=True, kw_only=True):
    """The answer of one rule, with its measurement and, if undecided, the number of groups that would decide."""

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

    rule: Rule
    answer: Answer
    message: str
    measurement: Measurement | None = None
    bound: float | None = None
    groups_needed: int | None = None


class Verdict(StoredRecord, frozen=True, kw_only=True):
    """The judge's answer for one subject; an override is a verdict too, and names who, when and why."""

    former_names: ClassVar[Mapping[str, str]] = {"rulings": "rule_results", "looks_at_test": "test_evaluations"}

    answer: Answer
    subject: str
    rule_results: tuple[RuleResult, ...] = ()
    test_evaluations: int = 0
    at: str = ""
    by: str = "judge"
    why: str = ""

    @property
    def overridden(self) -> bool:
        """True if a person decided instead of the judge."""
        return self.by != "judge"


class EvaluatedVariant(Record, frozen=True, kw_only=True):
    """A variant with its evidence and verdict: one row of a search result."""

    variant: Variant
    evidence: Evidence
    verdict: Verdict


class PolicyTest(Record, frozen=True, kw_only=True):
    """One model that was broken, or copied, on purpose.

    `what` was done to it, and `expected` is the answer that a policy should give. `rule_result` is the rule that
    decided, and `passed` is True if the policy answered as expected, for that reason. If the fault could not be made
    there is no verdict, and `message` gives the reason. `hint` is a rule that would detect it.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "expects": "expected",
        "held": "passed",
        "says": "message",
        "mend": "hint",
        "ruling": "rule_result",
    }

    what: str
    expected: str
    passed: bool = True
    verdict: Verdict | None = None
    rule_result: RuleResult | None = None
    message: str = ""
    hint: str = ""
