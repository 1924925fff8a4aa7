"""Importance of each feature: the error with its values permuted, and of the model retrained without it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from zlib import crc32

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.evidence import Measurement
from headway.core.texts import text_codes
from headway.core.training import TrainingTask
from headway.engines.formats.columns import column_indices
from headway.evaluation.comparison import errors_of_answers, subsample
from headway.evaluation.context import AuditContext, Comparison, MetricResults, Retrain
from headway.evaluation.statistics.claims import (
    ALPHA,
    MAX_GROUPS_RATIO,
    classify_difference,
    flag_parts,
    groups_needed,
    one_sided_bounds,
    required_z,
)
from headway.evaluation.statistics.intervals import UNBOUNDED, exact_measurement
from headway.evaluation.statistics.seeds import pool_measurements
from headway.evaluation.statistics.subsets import mean_measurement

RETRAINS = True
DRAWS, MAX_ROWS = 3, 50_000
USELESS = 0.01
"""A part is useless if the whole interval of the change of the error is below this share of the error."""

SHOWN = "shown, at 5 % over all parts"

Parts = Mapping[str, Ints]


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Measure what each feature, or group of features, contributes.

    Measures, one slice for each part (a feature, or one list of `[evaluate] together`):

    - `ablation.masked.brier.drop` (`mse` for a regression): increase of the error when the part's values are permuted,
      averaged over up to three permutations while the result is undecided.
      For a column of texts, `TEXT without the order of words` has its words shuffled, and `TEXT without words` the
      letters of each word: what longer n-grams of words, and words themselves, add to the rest.
    - `ablation.retrained.brier.drop`: increase of the error of the model retrained without the part. Parts that
      masking shows to be needed are skipped; the most suspect ones come first, while there is time.
    - `ablation.harmful`: 1 for each part without which the retrained model is better (masked, if the model cannot be
      retrained), and their number over all parts.
    - `ablation.useless`: 1 for each part whose masking changes the error by less than 1 %, and their number.
    - `ablation.unsettled`: parts that may do harm, or were not retrained, each with what would decide.
    - `ablation.trainings`: number of trainings.

    The chance that any part is called harmful or useless by mistake is at most 5 % for each of the two words.
    """
    until = monotonic() + context.budget_s
    some = subsample(subject, MAX_ROWS)
    parts = _parts(some, context.feature_groups)
    masked, margin = _masked(some, parts, until)
    harm = _masked_alone(masked)
    retrained: Sequence[Measurement] = ()
    trained = 0
    if context.retrain and len(parts) > 1:
        suspects = sorted((part for part in parts if not _needed(masked[part])), key=lambda part: masked[part].value)
        trainer = Trainer(subject=some, learn=context.retrain, alpha=ALPHA / len(parts) / MAX_TESTS)
        harm = trainer.train_without({part: parts[part] for part in suspects}, until)
        retrained, trained = list(trainer.found.values()), trainer.trained
    settled = [part for part, found in masked.items() if _useless(found, margin, len(parts))]
    useless = {part: SHOWN for part in settled if part not in harm.shown and part not in harm.open}
    n_rows = len(some.rows)
    return [
        *masked.values(),
        *_shuffled_texts(some, until),
        *retrained,
        *flag_parts("ablation.harmful", dict.fromkeys(harm.shown, SHOWN), n_rows=n_rows, undecided=len(harm.open)),
        *flag_parts("ablation.useless", useless, n_rows=n_rows),
        *flag_parts("ablation.unsettled", harm.open, n_rows=n_rows),
        exact_measurement("ablation.trainings", float(trained), n_rows=n_rows, method="models trained"),
        *context.training_caveats,
    ]


def _masked_alone(masked: Mapping[str, Measurement]) -> HarmfulParts:
    """Find harmful parts by masking alone, for a model that cannot be retrained."""
    alpha = ALPHA / len(masked) / DRAWS
    suspects = [part for part, found in masked.items() if one_sided_bounds(found, ALPHA)[1] < 0]
    shown = [part for part in suspects if one_sided_bounds(masked[part], alpha)[1] < 0]
    return HarmfulParts(
        shown=shown, open={part: describe_missing_data(masked[part], alpha) for part in suspects if part not in shown}
    )


def _parts(subject: Comparison, declared: Sequence[Sequence[str]]) -> Parts:
    """Return the columns of each part by its name; a feature in no list is a part by itself."""
    names = subject.names
    alone = (name for name in subject.variant.signature.names if not any(name in group for group in declared))
    lists = [*declared, *([name] for name in alone)]
    return {" + ".join(group): np.array([names.index(name) for name in group]) for group in lists}


def _masked(subject: Comparison, parts: Parts, until: float) -> tuple[dict[str, Measurement], float]:
    """Mask every part once, and undecided ones again while there is time; return the measurements and the margin."""
    rng = np.random.default_rng(0)
    lost: dict[str, list[Floats]] = {part: [] for part in parts}
    found: dict[str, Measurement] = {}
    errors = errors_of_answers(subject, subject.scores)
    margin = USELESS * errors.blocks.mean(errors.reference)
    name = f"ablation.masked.{errors.name}.drop"
    for draw in range(DRAWS):
        others = rng.permutation(len(subject.rows))
        for part, columns in parts.items():
            if draw and (monotonic() >= until or _useless(found[part], margin, len(parts)) or _needed(found[part])):
                continue
            rows = subject.rows.copy()
            rows[:, columns] = subject.rows[np.ix_(others, columns)]
            lost[part].append(errors_of_answers(subject, subject.model.predict(rows)).increase)
            over_draws = np.mean(lost[part], axis=0)
            found[part] = replace(mean_measurement(name, over_draws, errors.blocks, errors.bounds), slice=part)
    return found, margin


def _shuffled_texts(subject: Comparison, until: float) -> list[Measurement]:
    """Measure the increase of the error with the words of each text shuffled, then with the letters of each word."""
    found: list[Measurement] = []
    errors = errors_of_answers(subject, subject.scores)
    for index, column in enumerate(subject.fields):
        for family, shuffle in _FAMILIES.items() if column.is_text else ():
            if monotonic() >= until:
                return found
            different, which = np.unique(subject.rows[:, index], return_inverse=True)
            texts = [None if text is None else shuffle(text) for text in text_codes.texts(different)]
            rows = subject.rows.copy()
            rows[:, index] = np.array(text_codes.keep(texts))[which]
            drop = errors_of_answers(subject, subject.model.predict(rows)).increase
            measured = mean_measurement(f"ablation.masked.{errors.name}.drop", drop, errors.blocks, errors.bounds)
            found.append(replace(measured, slice=f"{column.name} without {family}"))
    return found


def _shuffle_words(text: str) -> str:
    words = text.split()
    return " ".join(words[position] for position in _order(len(words), text))


def _shuffle_letters(text: str) -> str:
    return " ".join("".join(word[position] for position in _order(len(word), word)) for word in text.split())


@lru_cache(maxsize=100_000)  # words repeat
def _order(count: int, text: str) -> list[int]:
    """Return a random order that is always the same for a text."""
    order: list[int] = np.random.default_rng(crc32(text.encode("utf-8", "replace"))).permutation(count).tolist()
    return order


_FAMILIES = {"the order of words": _shuffle_words, "words": _shuffle_letters}


def _useless(found: Measurement, margin: float, parts: int) -> bool:
    """Check whether masking changes the error by less than the margin, at 5 % shared by all parts and draws."""
    return found.se is not None and classify_difference(found, margin, ALPHA / parts / DRAWS) == "equivalent"


def _needed(found: Measurement) -> bool:
    return found.se is not None and found.low > 0


Columns = Ints

MAX_TESTS = 2
SEEDS = (3, 6)
"""Number of seeds at each of the two tests of harm."""
_MAX_DOF = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class HarmfulParts:
    """Parts that are shown to do harm, and undecided ones with what would decide."""

    shown: list[str]
    open: dict[str, str]


_WHOLE = ""
"""Stands for the model with all features; a part has a name."""


@dataclass(slots=True, kw_only=True)
class Trainer:
    """Retrains the model without a part, and with all features on the same seed (once for all parts).

    Harm is tested at `alpha`, at most twice; `found` holds the increase of the error without each part.
    """

    subject: Comparison
    learn: Retrain
    alpha: float
    trained: int = 0
    found: dict[str, Measurement] = field(default_factory=dict)
    _answers: dict[tuple[str, int], Floats] = field(default_factory=dict)
    _seeds: dict[str, list[Measurement]] = field(default_factory=lambda: defaultdict(list))

    def train_without(self, parts: Mapping[str, Columns], until: float) -> HarmfulParts:
        """Train without each part on one seed, suspects on three, and on six where the variance of seeds decides."""
        self._train_seeds(parts, 1, until)
        late = {part: "no time to retrain without it" for part in parts if not self._seeds[part]}
        self.found = {part: self._of_one(part) for part in parts if part not in late}
        suspects = [part for part in self.found if one_sided_bounds(self._seeds[part][0], ALPHA)[1] < 0]
        suspects.sort(key=lambda part: self._seeds[part][0].high)
        harm = HarmfulParts(
            shown=[], open=late | dict.fromkeys(suspects, "worse with it on one seed, no time for others")
        )
        for count in SEEDS:
            undecided = [suspect for suspect in suspects if suspect in harm.open and self._needs_seeds(suspect)]
            self._train_seeds({part: parts[part] for part in undecided}, count, until)
            for part in undecided:
                if len(self._seeds[part]) == count:
                    self._test(part, harm)
        return harm

    def _needs_seeds(self, part: str) -> bool:
        """Check whether more seeds can decide: one seed was trained, or seeds dominate the variance."""
        return (self.found[part].dof or 0.0) < _MAX_DOF

    def _train_seeds(self, parts: Mapping[str, Columns], count: int, until: float) -> None:
        """Train with all features and without each part until `count` seeds of each are done, while there is time."""
        all_columns = np.array(column_indices(self.subject.variant.signature.names, self.subject.names))
        columns = {_WHOLE: all_columns} | {part: np.setdiff1d(all_columns, parts[part]) for part in parts}
        wanted = [
            (name, seed) for part in parts for seed in range(len(self._seeds[part]), count) for name in (_WHOLE, part)
        ]
        missing = [key for key in dict.fromkeys(wanted) if key not in self._answers]
        if not missing:
            return
        names = self.subject.names
        tasks = [
            TrainingTask(features=tuple(names[index] for index in columns[name]), seed=seed) for name, seed in missing
        ]
        for number, model in self.learn(tasks, lambda: monotonic() < until):
            self.trained += 1
            self._answers[missing[number]] = model.predict(self.subject.rows[:, columns[missing[number][0]]])
        for part in parts:
            while (part, len(self._seeds[part])) in self._answers:
                self._seeds[part].append(self._without(part, len(self._seeds[part])))

    def _test(self, part: str, harm: HarmfulParts) -> None:
        """Test a part for harm, and record what would decide if harm is not shown."""
        found = self.found[part] = pool_measurements(self._seeds[part], ships_one=False)
        if one_sided_bounds(found, self.alpha)[1] < 0:
            harm.shown.append(part)
            del harm.open[part]
            return
        of_seeds = float(np.var([measurement.value for measurement in self._seeds[part]], ddof=1))
        of_groups = float(np.mean([(measurement.se or 0.0) ** 2 for measurement in self._seeds[part]]))
        harm.open[part] = describe_missing_data(replace(found, se=math.sqrt(of_groups)), self.alpha, of_seeds=of_seeds)

    def _without(self, part: str, seed: int) -> Measurement:
        """Return the increase of the error without the part, for one seed."""
        answers = self._answers.pop((part, seed))
        errors = errors_of_answers(self.subject, answers, self._answers[_WHOLE, seed])
        name = f"ablation.retrained.{errors.name}.drop"
        return replace(mean_measurement(name, errors.increase, errors.blocks, errors.bounds), slice=part)

    def _of_one(self, part: str) -> Measurement:
        """Return the measurement of one seed without an interval: the variance between seeds is unknown."""
        found = self._seeds[part][0]
        low, high = found.bounds or UNBOUNDED
        return replace(found, low=low, high=high, se=None, dof=None, method="one seed, no interval")


def describe_missing_data(found: Measurement, alpha: float, *, of_seeds: float = 0.0) -> str:
    """Describe how many seeds or groups would decide whether a part does harm.

    Parameters
    ----------
    found : Measurement
        Increase of the error without the part; its standard error covers the groups alone.
    alpha : float
        One-sided level of the test.
    of_seeds : float
        Variance between trainings.
    """
    margin = found.value**2 - (required_z(alpha) * (found.se or math.inf)) ** 2
    if margin > 0:
        seeds = max(math.ceil(required_z(alpha) ** 2 * of_seeds / margin), SEEDS[-1] + 1)
        return f"not shown at 5 % over all parts; about {seeds:,} seeds would decide"
    needed = groups_needed(found, found.value, alpha)
    if math.isinf(needed):
        return (
            f"not shown at 5 % over all parts, nor would {MAX_GROUPS_RATIO} times the {found.n_groups:,} groups decide"
        )
    return f"not shown at 5 % over all parts; about {needed:,.0f} groups would decide, here are {found.n_groups:,}"
