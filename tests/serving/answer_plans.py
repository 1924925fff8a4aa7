"""Releases of the echo model that answer selectively: rows with a mean of at least .8, or at most .1."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from running import bundle, release

from headway.core.contracts import Engine
from headway.core.evidence import Measurement
from headway.core.release import Release, SelfTest
from headway.core.selective import AnswerPlan, SelectiveCertificate
from headway.core.variant import Signature
from headway.serving.loading import LoadedModel, load_model
from headway.storage import segments, traffic


def share(name: str, value: float) -> Measurement:
    """Return a share of 1,000 rows."""
    return Measurement(name=name, value=value, low=value, high=value, method="a test", n_rows=1000)


CERTIFICATE = SelectiveCertificate(
    threshold=0.8, coverage=share("answer.coverage", 0.6), risk=share("answer.risk", 0.01), limit=0.05
)


def selective_release(*, stages: tuple[str, ...] = ("people",), **fields: Any) -> Release:
    """Return a release whose plan is certified for both classes."""
    settings = {"thresholds": {"0": 0.9, "1": 0.8}, **fields}
    plan = AnswerPlan(rule="probability", certificate=CERTIFICATE, stages=stages, **settings)
    return replace(release(), answers=plan, threshold=0.5)


def selective_model(*, audit_share: float = 0.0, **fields: Any) -> LoadedModel:
    """Load such a release."""
    return load_model(bundle(selective_release(**fields)), audit_share=audit_share)


def text_model(
    signature: Signature, *, stages: tuple[str, ...] = ("people",), engine: Engine | None = None, **fields: Any
) -> LoadedModel:
    """Load a model of texts with the name `support`, which answers a class from a probability of .9."""
    test = SelfTest(rows=((None,),), answers=((None,),), texts={field.name: () for field in signature.inputs})
    made = release(name="support", signature=signature, test=test)
    variant = replace(made.variant, task="multiclass")
    plan = AnswerPlan(
        rule="probability",
        thresholds=dict.fromkeys(signature.classes, 0.9),
        certificate=CERTIFICATE,
        stages=stages,
        **fields,
    )
    found = load_model(bundle(replace(made, variant=variant, answers=plan)))
    return found if engine is None else dataclasses.replace(found, engine=engine)


def log_messages(
    state: Path,
    model: LoadedModel,
    *keys: str,
    by: str = "people",
    status: int | NDArray[np.int8] = 0,
    answered: int = 1,
    api_key: str = "",
    digest: str = "",
    **columns_of: NDArray[np.int64],
) -> Path:
    """Log messages of which a model is certain that they have its second class."""
    ones = np.ones(len(keys), dtype=np.int8)
    columns: dict[str, segments.Column] = {
        "key": list(keys),
        "answered": ones * answered,
        "status": ones * status,
        "answered_by": ones * traffic.ANSWERED_BY.index(by),
        "out.0": ones * 0.1,
        "out.1": ones * 0.9,
        **({"api_key": [api_key] * len(keys)} if api_key else {}),
        **columns_of,
    }
    return segments.save(traffic.log_folder(state, model.name, digest or model.digest), columns)
