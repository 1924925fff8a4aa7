"""Drill: what a policy says of a model that was broken on purpose, and whether that is what it should say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from headway.core.record import Record
from headway.core.verdict import RuleResult, Verdict


class PolicyTest(Record, frozen=True, kw_only=True):
    """One model that was broken, or copied, on purpose.

    `what` was done to it, and `expects` what a policy should say of that. `ruling` is the rule that decided, and `held`
    whether the policy answered as it should, for that reason. Where nothing could be done there is no verdict, and
    `says` why. `mend` is a rule that would see it.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message", "mend": "hint", "ruling": "rule_result"}

    what: str
    expects: str
    held: bool = True
    verdict: Verdict | None = None
    rule_result: RuleResult | None = None
    message: str = ""
    hint: str = ""
