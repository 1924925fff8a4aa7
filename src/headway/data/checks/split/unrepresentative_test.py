"""D027: The test does not come from the distribution of the requests, by a permutation test over all features."""

from __future__ import annotations

from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import ALPHA, compare_with_requests, drifted_features, request_rows

CODES = ("D027",)
NAMED = 3


def plugin(context: CheckContext) -> list[Finding]:
    """Return a warning if the detector separates the rows of `test` from the requests at a significance of 5 %.

    Days are permuted in runs of a week, which needs eight weeks in total. Test metrics then describe other rows
    than those served; metrics by slice, or weighted ones, may still hold.
    """
    test = context.periods.get("test")
    if test is None:
        raise NotApplicable("no rows are held out to compare with", hint="[split] train, validation and test")
    requests = request_rows(context)
    drift = compare_with_requests(context, test, requests)
    if not drift.alarm:
        return []
    overall = next(
        measurement for measurement in drift.measurements if measurement.name == "drift.p" and not measurement.slice
    )
    names = drifted_features(drift)
    drifted = f"; most of all {', '.join(names[:NAMED])}" if names else ""
    return [
        Finding(
            code="D027",
            severity="warn",
            message=f"{len(test.table):,} test rows differ in distribution from {len(requests):,} requests{drifted}",
            where="[split] test",
            measured=overall.value,
            limit=ALPHA,
            hint="use a test from the days before the requests; headway watch shows what changed",
        )
    ]
