"""What audits work with: the model's recipe, what it learned from, and the months of the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from headway.core.config import Config
from headway.core.contracts import Blobs, Engine, Ground, Lesson
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError
from headway.core.variant import Signature
from headway.data.matrix import groups, labels, matrix, months, weights
from headway.data.split import labelled
from headway.evidence.subject import open_variant
from headway.variants.train import Asked, takes_seed, train

Data = Mapping[str, Dataset]


def ground_of(config: Config, data: Data, blobs: Blobs, *, signature: Signature, judged: Dataset) -> Ground:
    """The ground on which a variant with this signature is audited over the rows of the period `judged`."""

    def learn(features: Sequence[str], seed: int) -> Engine:
        return open_variant(train(config, data["train"], blobs, features=features, asked=Asked(seed=seed)), blobs)

    return Ground(
        blobs=blobs,
        budget_s=config.evaluate.budget_s,
        train=lambda: lesson_of(data, signature),
        learn=learn if "train" in data and takes_seed(config) else None,
        months=months(labelled(judged)),
        together=_known(config.evaluate.together, signature),
        rate_per_s=config.evaluate.rate_per_s,
    )


def _known(together: Sequence[Sequence[str]], signature: Signature) -> Sequence[Sequence[str]]:
    """The same; raises ConfigError for a name that the model does not read."""
    strange = sorted({name for names in together for name in names} - set(signature.names))
    if strange:
        raise ConfigError(
            f"the model reads no feature {strange[0]!r}",
            where="[evaluate] together",
            mend=f"name some of: {', '.join(signature.names)}",
        )
    return together


def lesson_of(data: Data, signature: Signature) -> Lesson | None:
    """The labelled rows of `train` as a model with this signature reads them; None where there are none."""
    known = labelled(data["train"]) if "train" in data else None
    if known is None or known.table.is_empty():
        return None
    rows = matrix(known.table, signature)
    return Lesson(rows=rows, labels=labels(known), groups=groups(known), weights=weights(known))
