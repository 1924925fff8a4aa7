"""D035: labels that look wrong to a model that never saw them, counted with an interval, by class."""

from __future__ import annotations

from headway.core.contracts import Survey
from headway.core.evidence import Finding
from headway.data.labels.crossfit import SCREENED, said_of
from headway.data.labels.noise import T, noise_of

LIMIT = 0.05


def plugin(survey: Survey) -> list[Finding]:
    """The share of labels that look wrong, told where its interval begins above 1 in 1,000; above 5 % it warns.

    Asked of at most about 60,000 rows in whole groups. A label that nobody could have told looks wrong as well, so the
    share is a bound from above for targets with chance in them.
    """
    said = said_of(survey.dataset, rows=SCREENED)
    noise, rows = noise_of(said), len(said.labels)
    share = noise.count / rows
    if noise.errors is None:
        low, interval = share, f"no interval of {said.n_groups} groups"
    else:
        low, high = (share + sign * T * float(noise.errors[-1]) / rows for sign in (-1, 1))
        interval = f"95 % [{max(0, low):.1%}, {min(1, high):.1%}]"
    if low <= 0.001:
        return []
    worst = int((noise.counts / rows).argmax())
    return [
        Finding(
            code="D035",
            severity="warn" if low > LIMIT else "note",
            says=f"{share:.1%} of the labels look wrong ({interval}; {rows:,} rows, {said.n_groups:,} groups), most"
            f" often those that say '{said.classes[worst]}'",
            where=f"column {survey.dataset.roles.target}",
            measured=share,
            limit=LIMIT,
            mend="headway labels suspects",
        )
    ]
