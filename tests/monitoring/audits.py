"""A live release that answers selectively, and the log of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec.structs import replace
from tests.monitoring import rollouts

from headway.core.evidence import Measurement
from headway.core.release import Release
from headway.core.selective import AnswerPlan, SelectiveCertificate
from headway.core.variant import Signature
from headway.registry.project import Project
from headway.storage import segments, traffic
from headway.storage.traffic import Label

CLASSES = ("delivery", "refund", "thanks")
NOON_US = 1_580_558_400_000_000
"""1 February 2020, 12:00."""
DAY_US = 86_400_000_000


def certificate(*, limit: float = 0.1, n_groups: int = 0) -> SelectiveCertificate:
    """A certificate by rows, or by groups if there are some."""
    measured = Measurement(
        name="answer.risk", value=0.02, low=0, high=limit, method="a test", n_rows=1000, n_groups=n_groups
    )
    return SelectiveCertificate(threshold=0.6, coverage=measured, risk=measured, limit=limit)


def plan(*, limit: float = 0.1, n_groups: int = 0, classes: Sequence[str] = CLASSES[:2]) -> AnswerPlan:
    """A plan with a certificate of all answers, and of each of these classes."""
    one = certificate(limit=limit, n_groups=n_groups)
    return AnswerPlan(
        rule="probability",
        thresholds=dict.fromkeys(CLASSES, 0.6),
        certificate=one,
        classes=dict.fromkeys(classes, one),
    )


def answering(**fields: object) -> Release:
    """A release that answers three classes by a plan."""
    made = rollouts.release()
    signature = Signature(inputs=made.variant.signature.inputs, classes=CLASSES)
    variant = replace(made.variant, signature=signature, task="multiclass")
    return replace(made, variant=variant, answers=plan(), made_at="2020-01-01T00:00:00+00:00", **fields)


def log(
    project: Project,
    release: str,
    answers: Sequence[int],
    *,
    first: int = 0,
    at_us: int = NOON_US,
    step_us: int = 1000,
    audit: int = 1,
    by: str = traffic.MODEL,
) -> list[str]:
    """Log answers (indexes of classes) of a release, with keys numbered from `first`; return the keys."""
    n = len(answers)
    numbers = np.arange(first, first + n)
    keys = [str(number) for number in numbers]
    outputs = np.full((n, len(CLASSES)), 0.05)
    outputs[np.arange(n), list(answers)] = 0.9
    ones = np.ones(n, dtype=np.int8)
    columns: dict[str, segments.Column] = {
        "request": numbers,
        "key": keys,
        "at_us": at_us + numbers * step_us,
        "stage": -ones,
        "paired": ones * 0,
        "answered": ones,
        "status": ones * 0,
        "latency_us": numbers,
        "rate": np.ones(n),
        "in.a": np.ones(n),
        "in.b": np.ones(n),
        **{f"out.{column}": outputs[:, column].copy() for column in range(len(CLASSES))},
        "answered_by": ones * traffic.ANSWERED_BY.index(by),
        "audit": ones * audit,
    }
    segments.save(traffic.log_folder(project.config.state, project.name, release), columns)
    return keys


def label(project: Project, labels: Mapping[str, int], *, who: str = "ann") -> None:
    """Store labels (indexes of classes) by key."""
    found = [Label(key, float(value)) for key, value in labels.items()]
    traffic.save_labels(project.config.state, project.name, found, who=who)
