"""Evidence: measurements and findings on one subject, with its data and machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import ClassVar, Literal

import msgspec

from headway.core.record import FormerValues, Record, StoredRecord

NOT_RUN, DECLARED_PRIVACY = "E001", "E010"
"""Code of a finding that a metric, an audit or a comparison could not judge."""
TRAINING_ROWS = "E007"
"""Code of the finding that rows are, or look like, those that the model was trained on; shown if it is undecided."""

# Names of measures that changed after 0.1, and what they are called now: patterns of which the first that matches
# counts.
CALLS = "latency.as_called"
AS_CALLED = f"{CALLS}.speedup"
"""Ratio of the user's own call to the same call of the optimized model."""
_RENAMED_MEASURES = (
    (re.compile(r"^looks_at_test$"), "test_evaluations"),
    (re.compile(r"^load\.memory_beside_mb$"), "load.memory_without_model_mb"),
    (re.compile(r"^drift\.loss$"), "drift.loss"),
    (re.compile(r"^(robustness\..*\.roc_auc)\.drop$"), r"\1.decrease"),
    (re.compile(r"^(.*)\.loss$"), r"\1.drop"),
    (re.compile(r"^(.*\.)?flipped_decisions(\..*)?$"), r"\1decision_churn\2"),
    (re.compile(r"^(.*\.)?calibration\.moved$"), r"\1probability_shift"),
)
_FORMER_MEASURES = (
    (re.compile(r"^test_evaluations$"), "looks_at_test"),
    (re.compile(r"^load\.memory_without_model_mb$"), "load.memory_beside_mb"),
    (re.compile(r"^(.*)\.roc_auc\.decrease$"), r"\1.roc_auc.drop"),
    (re.compile(r"^(.*)\.drop$"), r"\1.loss"),
    (re.compile(r"^(.*\.)?decision_churn(\..*)?$"), r"\1flipped_decisions\2"),
    (re.compile(r"^(.*\.)?probability_shift$"), r"\1calibration.moved"),
)


@lru_cache(maxsize=4096)
def current_measure(name: str) -> str:
    """Return what a measure is called today; a name that never changed is returned as it is.

    >>> current_measure("worst_slice.brier.loss"), current_measure("missing.flipped_decisions")
    ('worst_slice.brier.drop', 'missing.decision_churn')
    """
    return _first_match(name, _RENAMED_MEASURES)


@lru_cache(maxsize=4096)
def former_measure(name: str) -> str:
    """Return what headway 0.1 called a measure, for digests that were taken over its name.

    >>> former_measure("brier.drop"), former_measure("probability_shift"), former_measure("ece")
    ('brier.loss', 'calibration.moved', 'ece')
    """
    return _first_match(name, _FORMER_MEASURES)


def _first_match(name: str, renamed: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    return next((pattern.sub(new, name) for pattern, new in renamed if pattern.match(name)), name)


RENAMED_CHECKS = {
    "agreed_columns": "contract_columns",
    "agreed_form": "contract_format",
    "agreed_keys": "contract_keys",
    "agreed_missing": "contract_missing",
    "agreed_range": "contract_range",
    "agreed_relations": "contract_relations",
    "agreed_values": "contract_values",
    "as_tracked": "dvc_mismatch",
    "declared": "policy_applied",
    "disagreed": "label_disagreement",
    "flipped": "flipped_labels",
    "in_text": "personal_in_text",
    "known_after": "outcome_columns",
    "noisy": "noisy_labels",
    "pull": "influential_groups",
    "revised": "revised_values",
    "selection": "unlabeled_rows",
    "undeclared": "undeclared_features",
    "unlike_requests": "request_mismatch",
    "unlike_served": "unrepresentative_test",
}
"""Names of checks in stored records of 0.1, and what they are called now."""


_FULL_RANGES, _UNBOUNDED = ((0.0, 1.0), (-1.0, 1.0)), 1e300
"""Ends of an interval over the whole range of a measure. Records hold no infinity: an open end is a huge number."""


class TimedCall(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How the baseline was called in a timing: the function, its input, and the model's settings.

    `input` is `array_row`, `dataframe_row` or `batch`. `threads` is 0 where the model leaves them to its library.
    """

    engine: str
    call: str
    input: str
    rows: int
    threads: int = 0

    def __str__(self) -> str:
        rows = {"array_row": "an array row", "dataframe_row": "a DataFrame row"}.get(self.input, f"{self.rows} rows")
        threads = f"threads={self.threads}" if self.threads else "threads as the library chooses"
        return f"{self.engine}, {self.call} of {rows}, {threads}"


class AttackEffort(Record, frozen=True, kw_only=True, omit_defaults=True):
    """How much of its registered work an attack did: so many `done` of the `registered` units, such as shadow models.

    An attack that did less may show that a model leaks, and never that it does not. `hint` says how to complete it.
    """

    attack: str
    done: int
    registered: int
    unit: str
    hint: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether the attack was run in full."""
        return self.done >= self.registered

    def __str__(self) -> str:
        if self.is_complete:
            return f"attack '{self.attack}' in full, with {self.done:,} {self.unit}"
        return f"attack '{self.attack}' with {self.done:,} of {self.registered:,} {self.unit}"


class Measurement(Record, frozen=True, kw_only=True):
    """A number with its uncertainty.

    `low` and `high` are the ends of the two-sided interval of `level`, clipped to `bounds`, the range of the measure;
    None if it is unbounded, or a fact. `se` and `dof` allow a one-sided bound of another level (Student t). A count or
    maximum over the given rows has no `se`: it is a fact about `n_rows` rows, and low = value = high. `validity` is
    `fixed` (the interval is valid for one planned evaluation) or `anytime` (for any number of evaluations). A ratio of
    times names the `baseline` that it is against, and a measure of an attack its `effort`: one of an earlier headway
    has none, and counts as not complete. The bounds of a share with `effective_rows` are those of so many independent
    rows (Clopper-Pearson), at any level.
    """

    former_names: ClassVar[Mapping[str, str]] = {"looks": "validity"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "name": current_measure,
        "slice": {"as it came": "baseline"},
    }

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
    validity: Literal["fixed", "anytime"] = "fixed"
    se: float | None = None
    dof: float | None = None
    bounds: tuple[float, float] | None = None
    baseline: TimedCall | msgspec.UnsetType = msgspec.UNSET
    effective_rows: float | msgspec.UnsetType = msgspec.UNSET
    effort: AttackEffort | msgspec.UnsetType = msgspec.UNSET

    @property
    def has_interval(self) -> bool:
        """Whether the data give an interval; a measurement without one decides nothing.

        Without a standard error the ends are those of the whole range of the measure, which need not be infinite.
        """
        ends = (self.low, self.high)
        is_whole_range = self.se is None and ends in (*_FULL_RANGES, self.bounds)
        return all(abs(end) < _UNBOUNDED for end in ends) and not is_whole_range


def current_variant_name(name: str) -> str:
    """Return the name of a variant today; headway 0.1 marked the baseline with other words."""
    return name.replace(" (as it came)", " (baseline)")


def _current_where(where: str) -> str:
    kind, _, check = where.partition(" ")
    return f"check {RENAMED_CHECKS.get(check, check)}" if kind == "check" else current_variant_name(where)


class Finding(Record, frozen=True, kw_only=True):
    """A check's finding: the measured value, the limit, and a hint.

    Severity: `stop` forbids to continue, `warn` asks for a person, `note` informs, `undecided` means that the check
    could not judge.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message", "mend": "hint"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {"where": _current_where}

    code: str
    severity: Literal["stop", "warn", "note", "undecided"]
    message: str
    where: str = ""
    measured: float | None = None
    limit: float | None = None
    hint: str = ""
    plugin: str = ""
    reason: str = ""

    @property
    def column(self) -> str:
        """The column that it is about; empty for other places."""
        return self.where.removeprefix("column ") if self.where.startswith("column ") else ""


class Machine(Record, frozen=True, kw_only=True):
    """The machine that a measurement was made on."""

    cpu: str
    cores: int
    system: str
    python: str


class Evidence(StoredRecord, frozen=True, kw_only=True):
    """Measurements and findings on one subject (the digest of a variant), one dataset and one machine.

    `live` is the digest of the release that the measures `live.` compare with; empty if none was live.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"period": {"choose": "validation"}}

    subject: str
    dataset: str
    period: str
    machine: Machine
    measurements: tuple[Measurement, ...] = ()
    findings: tuple[Finding, ...] = ()
    reference: str = ""
    live: str = ""
    at: str = ""

    def names(self) -> set[str]:
        """Return the names of what was measured over all rows."""
        return {measurement.name for measurement in self.measurements if not measurement.slice}

    def find(self, name: str, slice: str = "") -> Measurement | None:
        """Return the measurement of that name and slice, or None."""
        name = current_measure(name)
        same = (
            measurement for measurement in self.measurements if measurement.name == name and measurement.slice == slice
        )
        return next(same, None)
