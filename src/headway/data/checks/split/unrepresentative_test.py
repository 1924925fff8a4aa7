"""D027: a test that is not of the rows that servers are asked, shown by permuting days over all features."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.leakage.samples import ALPHA, compare_with_requests, drifted_features, request_rows

NAMED = 3


def plugin(survey: CheckContext) -> list[Finding]:
    """A warning where the detector tells the rows of `test` from the requests, at a chance of 5 %.

    Days are dealt anew in runs of a week, so that it takes eight weeks of both together. Whatever the model showed on
    the test it showed on others than it serves: a figure by slice, or weights, may still hold.
    """
    test = survey.periods.get("test")
    if test is None:
        raise NotApplicable("no rows are held out to compare with", hint="[split] train, validation and test")
    asked = request_rows(survey)
    drift = compare_with_requests(survey, test, asked)
    if not drift.alarm:
        return []
    whole = next(each for each in drift.measurements if each.name == "drift.p" and not each.slice)
    names = drifted_features(drift)
    most = f"; most of all {', '.join(names[:NAMED])}" if names else ""
    return [
        Finding(
            code="D027",
            severity="warn",
            message=f"{len(test.table):,} rows of the test are not of the world of {len(asked):,} requests{most}",
            where="[split] test",
            measured=whole.value,
            limit=ALPHA,
            hint="a test of the days before the requests; headway watch tells what changed, and what it costs",
        )
    ]
