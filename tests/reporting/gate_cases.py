"""Cases of the gate with real core records: what passes, fails, is undecided, has no rule or was overridden."""

from __future__ import annotations

from hypothesis import strategies as st
from msgspec.structs import replace
from stories import RELEASED, RULES, estimate, evidence

from headway.core.evidence import Evidence
from headway.core.verdict import Rule, RuleResult, Verdict
from headway.data.settings.policy import PolicySection
from headway.registry.judge import judge, override_verdict
from headway.reporting.gates.gate import GateResult

POLICY = PolicySection(release=(RULES[0], RULES[3]))
SPEED = (estimate("latency.speedup", 8.4, 0.2, unit="x", rows=2000),)


def seen(*, loss: float = 0.0, half: float = 0.001, ece: float = 0.02) -> Evidence:
    """Evidence on `test` of a loss in AUC with that half width of its interval, and of a calibration error."""
    return evidence(RELEASED, estimate("roc_auc.drop", loss, half), estimate("ece", ece, 0.01), period="test")


def case(of: Evidence, policy: PolicySection = POLICY, *, evaluations: int = 1) -> GateResult:
    """Return the result of the gate for this evidence."""
    verdict = judge(of, policy, test_evaluations=evaluations)
    return GateResult(project="flights", variant=RELEASED.name, verdict=verdict, evidence=of, speed=SPEED)


def overruled(of: GateResult) -> GateResult:
    """The same case, passed by a person."""
    return replace(of, verdict=override_verdict(of.verdict, who="ada", why="storm days", at="2026-11-24T15:00:00Z"))


PASS = case(seen())
FAIL = case(seen(loss=0.02, ece=0.3))
UNDECIDED = case(seen(loss=0.004, half=0.004))
WITHOUT_RULES = case(seen(), PolicySection())
OVERRULED = overruled(FAIL)
CASES = {
    "pass": PASS,
    "fail": FAIL,
    "undecided": UNDECIDED,
    "without rules": WITHOUT_RULES,
    "overruled": OVERRULED,
    "overruled without rules": overruled(WITHOUT_RULES),
    "evaluated three times": case(seen(), evaluations=3),
}

HOSTILE = st.text(max_size=12) | st.sampled_from(
    (
        "a|b",
        "<script>x</script>",
        "]]>",
        "[x](1)",
        r"\[x\](y)",
        "{0}",
        "@ada #1 :tada: http://x.y",
        "a\nverdict=pass",
        "\x1b[2J\x00\ufffe\u202e",
    )
)


@st.composite
def hostile_cases(draw: st.DrawFn) -> GateResult:
    """Return a case with arbitrary texts, as a table, a policy or a name may hold them."""
    answers = st.sampled_from(("pass", "fail", "undecided"))
    found = draw(st.lists(st.tuples(answers, HOSTILE, HOSTILE, HOSTILE), max_size=3))
    rule_results = tuple(
        RuleResult(
            rule=Rule(measure=measure, at_most=0.1),
            answer=answer,
            message=message,
            measurement=estimate(measure, 0.05, 0.01, slice=slice),
        )
        for answer, measure, message, slice in found
    )
    verdict = Verdict(
        answer=draw(answers),
        subject="sha256:" + "a" * 64,
        rule_results=rule_results,
        test_evaluations=draw(st.integers(0, 3)),
        by=draw(st.just("judge") | HOSTILE),
        why=draw(HOSTILE),
        at=draw(HOSTILE),
    )
    of = replace(seen(), period=draw(HOSTILE), dataset=draw(HOSTILE))
    return GateResult(
        project=draw(HOSTILE), variant=draw(HOSTILE), verdict=verdict, evidence=of, speed=SPEED, change=draw(HOSTILE)
    )
