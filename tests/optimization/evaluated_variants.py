"""Evaluated variants made by hand: one rule, one objective, no model."""

from __future__ import annotations

from headway.core.evidence import Evidence, Machine, Measurement
from headway.core.variant import Artifact, Field, Signature, Step, Variant
from headway.core.verdict import Answer, EvaluatedVariant, Rule, RuleResult, Verdict

RULE = Rule(measure="brier.drop", at_most=0.005)
ABSOLUTE = Rule(measure="ece", at_most=0.05)


def evaluated(
    number: int, us: float | None, *, answer: Answer = "pass", unit: str = "us", rule: Rule = RULE
) -> EvaluatedVariant:
    """Variant number 0 is the baseline; `us` is its objective."""
    variant = Variant(
        artifact=Artifact(format="echo", digest=f"sha256:{number}", size_bytes=4),
        engine="echo",
        signature=Signature(inputs=(Field(name="a"),)),
        steps=(Step(transform="truncate", settings={"trees": number}),) if number else (),
    )
    speed = Measurement(name="speed", value=us or 0, low=us or 0, high=us or 0, method="", n_rows=1, unit=unit)
    evidence = Evidence(
        subject=variant.digest,
        dataset="",
        period="validation",
        machine=Machine(cpu="", cores=1, system="", python=""),
        measurements=(speed,) if us is not None else (),
    )
    rule_result = RuleResult(rule=rule, answer=answer, message=f"{rule.measure} is what it is")
    return EvaluatedVariant(
        variant=variant,
        evidence=evidence,
        verdict=Verdict(answer=answer, subject=variant.digest, rule_results=(rule_result,)),
    )
