"""Labels of a project that may be wrong: find them, and keep what a person answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from headway.core.dataset import Dataset
from headway.core.evidence import Measurement
from headway.core.labeling import Confirmation, Correction, Suspect, Suspects
from headway.data.labels.corrections import row_digests
from headway.data.labels.noise import LabelNoise, estimate_noise
from headway.data.labels.out_of_fold import OutOfFold, out_of_fold
from headway.data.labels.review import add_correction, confirm_label, confirmed_rows
from headway.data.open import open_dataset, open_rows
from headway.data.read import read_table
from headway.evaluation.statistics.intervals import Estimate, Sample, t_interval
from headway.registry.project import Project

MAX_SUSPECTS = 1000
REVIEW_WAIT_S = 60.0
SUSPECT_METHOD = "chances of each label, out of fold; leave-one-block-out jackknife over {} blocks of groups, t"


def save_suspects(project: Project) -> Suspects:
    """Find the rows of a project whose labels may be wrong, and save them; confirmed labels are left out of the rows.

    A row carries the digest of its content, so that a correction by its number meets no other row.
    """
    table = read_table(project.config)
    rows = open_rows(project.config, table).raw
    confirmed = confirmed_rows(project.config, project.state)
    known = [index for index, digest in enumerate(row_digests(rows)) if digest in confirmed] if confirmed else []
    found = find_suspects(open_dataset(project.config, rows=table), name=project.name, left_out=known)
    digests = row_digests(rows[[suspect.row - 1 for suspect in found.rows]])
    named = (replace(suspect, digest=digest) for suspect, digest in zip(found.rows, digests, strict=True))
    found = replace(found, rows=tuple(named))
    project.save(found)
    return found


def review_label(
    project: Project, *, row: int, to: str = "", who: str, why: str, digest: str = ""
) -> Correction | Confirmation:
    """Correct the label of a row, or without `to` confirm it; one person at a time, so that each sees the last answer.

    See `add_correction`.
    """
    config, state = project.config, project.state
    with project.lease("label review", wait_s=REVIEW_WAIT_S):
        if to:
            return add_correction(config, state, row=row, to=to, who=who, why=why, digest=digest)
        return confirm_label(config, state, row=row, who=who, why=why, digest=digest)


def find_suspects(
    dataset: Dataset, *, name: str, max_rows: int = MAX_SUSPECTS, left_out: Sequence[int] = ()
) -> Suspects:
    """Return the rows whose labels may be wrong, most likely first, and an estimate of how many there are.

    Each row is predicted by a model that was trained on other groups. The rows of the table at the indexes `left_out`
    are not listed. Raises NotApplicable if labels are not classes, or there are too few.
    """
    oof = out_of_fold(dataset)
    noise = estimate_noise(oof)
    order = np.argsort(-noise.error_probability, kind="stable")
    order = order[~np.isin(oof.rows[order], left_out)][:max_rows]
    return Suspects(
        name=name,
        dataset=dataset.digest,
        count=_suspect_count("labels.wrong", noise, oof, index=-1),
        by_class=tuple(_suspect_count("labels.wrong", noise, oof, index=index) for index in range(len(oof.classes))),
        classes=oof.classes,
        transition_matrix=tuple(tuple(map(float, line)) for line in noise.transition),
        rows=tuple(_suspect(dataset, noise, oof, int(row)) for row in order),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _suspect_count(name: str, noise: LabelNoise, oof: OutOfFold, *, index: int) -> Measurement:
    """Measure the number of wrong labels of one class, or of all for index -1."""
    rows = len(oof.labels) if index < 0 else int((oof.labels == index).sum())
    estimate = Estimate(
        value=noise.count if index < 0 else float(noise.counts[index]),
        se=float("inf") if noise.standard_errors is None else float(noise.standard_errors[index]),
        dof=noise.blocks - 1,
        method=SUSPECT_METHOD.format(noise.blocks),
    )
    sample = Sample(n_rows=rows, n_groups=oof.n_groups, bounds=(0.0, float(rows)))
    found = t_interval(name, estimate, sample)
    return found if index < 0 else _sliced(found, oof.classes[index])


def _sliced(measurement: Measurement, named: str) -> Measurement:
    return replace(measurement, slice=f"label={named}")


def _suspect(dataset: Dataset, noise: LabelNoise, oof: OutOfFold, index: int) -> Suspect:
    row = int(oof.rows[index])
    groups = dataset.roles.groups
    return Suspect(
        row=row + 1,
        given_label=oof.classes[oof.labels[index]],
        likely_label=oof.classes[noise.suggested[index]],
        probability=float(noise.error_probability[index]),
        group=str(dataset.table[groups][row]) if groups else "",
    )
