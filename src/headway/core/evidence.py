"""Evidence: what was measured and found, of which subject, on which data and machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.record import Kept, Record


class Measurement(Record, frozen=True, kw_only=True):
    """A number that says how sure it is.

    `low` and `high` are the ends of the two-sided interval of `level`, clipped to `bounds`, the range that the measure
    can have; None where it has no end, or is a fact.
    `se` and `dof` let the judge take a one-sided bound of another level (Student t); a count or a maximum over the
    rows at hand has no `se`: it is a fact about `n_rows` rows, and low = value = high.
    `looks` is `fixed` (good for one planned look) or `anytime` (good for any number of looks).
    """

    name: str
    value: float
    low: float
    high: float
    method: str
    n_rows: int
    n_groups: int = 0
    slice: str = ""
    unit: str = ""
    level: float = 0.95
    looks: Literal["fixed", "anytime"] = "fixed"
    se: float | None = None
    dof: float | None = None
    bounds: tuple[float, float] | None = None


class Finding(Record, frozen=True, kw_only=True):
    """What a check saw: what was measured, the limit, and the mend.

    Severity: `stop` forbids to go on, `warn` asks for a person, `note` tells, `undecided` says that the check could
    not judge.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message", "mend": "hint"}

    code: str
    severity: Literal["stop", "warn", "note", "undecided"]
    message: str
    where: str = ""
    measured: float | None = None
    limit: float | None = None
    hint: str = ""


class Machine(Record, frozen=True, kw_only=True):
    """The machine a measurement was made on."""

    cpu: str
    cores: int
    system: str
    python: str


class Evidence(Kept, frozen=True, kw_only=True):
    """Measurements and findings on one subject (the digest of a variant), one dataset and one machine."""

    subject: str
    dataset: str
    period: str
    machine: Machine
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    reference: str = ""
    at: str = ""

    def find(self, name: str, slice: str = "") -> Measurement | None:
        """The measurement of that name and slice, or None where there is none."""
        same = (each for each in self.measurements if each.name == name and each.slice == slice)
        return next(same, None)
