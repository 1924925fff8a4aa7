"""Rows that the release of a device forwards: the model of the server that they go to is certified on these alone."""

from __future__ import annotations

from dataclasses import dataclass

from headway.core.answering import decide
from headway.core.arrays import Bools
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError
from headway.data.matrix import matrix
from headway.evaluation.calibration.apply import calibration_function
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

    def forwarded(self, rows: Dataset) -> Bools:
        """Return which rows it does not answer, bool (n,); raises ConfigError if it answers all."""
        release = self.bundle.release
        assert release.answers
        engine, calibrate = open_release(self.bundle), calibration_function(release.calibrator)
        scores = calibrate(engine.predict(matrix(rows.table, release.variant.signature)))
        found = ~decide(release.answers, release.class_names, scores, threshold=release.threshold).is_answered
        if not found.any():
            raise ConfigError(
                f"{release.name} answers all {len(found):,} rows of {rows.name}, so no row is forwarded",
                where=_WHERE,
                hint="leave it out: the model of the device needs no other",
            )
        return found


def find_forwarding(registry: ModelRegistry, reference: str) -> ForwardingRelease:
    """Return the release `NAME@live` of a device, verified.

    Raises
    ------
    ConfigError
        If it answers every row.
    """
    bundle = registry.resolve(reference)
    if bundle.release.answers is None:
        raise ConfigError(
            f"{reference} has no answer plan: it answers every row",
            where=_WHERE,
            hint="set [answer] limit in the project of the device, and release it",
        )
    return ForwardingRelease(bundle)
