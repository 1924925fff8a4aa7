"""Policy test: the answer of a policy to a model that was broken on purpose, and whether it is the expected one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from headway.core.record import Record
from headway.core.verdict import RuleResult, Verdict


class PolicyTest(Record, frozen=True, kw_only=True):
    """One model that was broken, or copied, on purpose.

    `what` was done to it, and `expected` is the answer that a policy should give. `rule_result` is the rule that decided,
    and `passed` is True if the policy answered as expected, for that reason. If the fault could not be made there is no
    verdict, and `message` gives the reason. `hint` is a rule that would detect it.
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
