"""Rows that the release of a device forwards: the model that gets them is certified together with that release."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.core.dataset import Dataset
from headway.core.errors import ConfigError
from headway.data.matrix import matrix
from headway.evaluation.answer_plan import LabeledAnswers
from headway.evaluation.calibration.apply import calibration_function
from headway.evaluation.settings.answer import AnswerSection
from headway.registry.bundle import Bundle, open_release
from headway.registry.model_registry import ModelRegistry

_WHERE = "[answer] forwarded_by"


@dataclass(frozen=True, slots=True)
class ForwardingRelease:
    """A verified release that answers selectively."""

    bundle: Bundle

    @property
    def digest(self) -> str:
        """Digest of the release."""
        return self.bundle.digest

    def behind(self, answers: LabeledAnswers, rows: Dataset) -> LabeledAnswers:
        """Return the answers of a model to labeled rows as those to what the device does not answer.

        Raises
        ------
        ConfigError
            If the release answers other classes than the model, or all rows.
        """
        release = self.bundle.release
        assert release.answers
        if set(release.class_names) != set(answers.classes):
            raise ConfigError(
                f"{release.name} has the classes {', '.join(release.class_names[:5])}, and the model has others",
                where=_WHERE,
                hint="a device and the model behind it answer the same classes",
            )
        engine, calibrate = open_release(self.bundle), calibration_function(release.calibrator)
        order = [answers.classes.index(name) for name in release.class_names]
        device = LabeledAnswers(
            classes=release.class_names,
            probabilities=calibrate(engine.predict(matrix(rows.table, release.variant.signature))),
            labels=np.argsort(order)[answers.labels],
            groups=answers.groups,
            threshold=release.threshold,
        )
        found = answers.behind(device, release.answers)
        if found.by_device is None or found.by_device.all():
            raise ConfigError(
                f"{release.name} answers all {len(answers.labels):,} rows of {rows.name}, so no row is forwarded",
                where=_WHERE,
                hint="leave it out: the model of the device needs no other",
            )
        return found


def find_forwarding(registry: ModelRegistry, section: AnswerSection) -> ForwardingRelease:
    """Return the release of a device that the section names, verified.

    Raises
    ------
    ConfigError
        If it answers every row, or classes have certificates of their own within a limit that it does not keep.
    """
    reference = section.forwarded_by
    bundle = registry.resolve(reference)
    if bundle.release.answers is None:
        raise ConfigError(
            f"{reference} has no answer plan: it answers every row",
            where=_WHERE,
            hint="set [answer] limit in the project of the device, and release it",
        )
    limit = bundle.release.answers.certificate.limit
    if section.per_class and limit > section.limit:
        raise ConfigError(
            f"{reference} allows {limit:g} of its answers to be wrong, more than the {section.limit:g} of each class",
            where="[answer] per_class",
            hint=f"limit = {limit:g}, or per_class = false",
        )
    return ForwardingRelease(bundle)
