"""D037: Labels arrive later than `label_delay`, so monitoring and retraining use them too early."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext

CODES = ("D037",)
LIMIT = 0.05


def plugin(context: CheckContext) -> list[Finding]:
    """Return a finding on the share of requests without a label after the declared delay.

    It warns if the whole interval is above 5 %, and is undecided if the interval contains 5 %.
    """
    delays = context.labeling.delays()
    if delays is None:
        raise NotApplicable(
            "the live release has answered no request that can get a label", hint="headway serve NAME@live"
        )
    if not delays.declared_s:
        raise NotApplicable("the delay of labels is not declared", hint='[data] label_delay = "1d"')
    if delays.late is None:
        raise NotApplicable("no request is old enough for its label")
    late = delays.late
    if late.high <= LIMIT:
        return []
    return [
        Finding(
            code="D037",
            severity="warn" if late.low > LIMIT else "undecided",
            message=f"{late.value:.1%} [{late.low:.1%}, {late.high:.1%}] of {late.n_rows:,} requests had no label when "
            f"it was due; {delays.n_labeled:,} of {delays.n_requests:,} have one now",
            where="[data] label_delay",
            measured=late.value,
            limit=LIMIT,
            hint="headway labels delay shows the quantiles; set [data] label_delay to one of them",
        )
    ]
