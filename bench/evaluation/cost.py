"""The row `interval.cpu_seconds` of bench/evidence.py: CPU time of the intervals of an AUC on 300,000 rows."""

from __future__ import annotations

from time import process_time

import numpy as np
from sklearn.metrics import roc_auc_score

from evaluation.flight_rows import year
from harness import Row
from headway.evaluation.statistics.intervals import Sample, jackknife_interval
from headway.evaluation.statistics.tables import leave_one_out_auc, score_table

ROWS, TIMES, MOST_S = 300_000, 7, 0.08
TINY = {"ROWS": 3_000, "TIMES": 1}


def rows() -> tuple[list[Row], list[str]]:
    """Compute one table of scores and an interval by day."""
    data = year()
    answers = data.chosen(np.arange(len(data.late)) < ROWS).answers()
    sample = Sample(n_rows=ROWS, n_groups=answers.n_groups)
    times = []
    for _ in range(TIMES):
        began = process_time()
        table = score_table(answers.scores, answers)
        tabled = process_time()
        jackknife_interval("roc_auc", 0.5, leave_one_out_auc(table), sample)
        times.append((process_time() - began, tabled - began))
    total_s, table_s = min(times)
    began = process_time()
    roc_auc_score(answers.labels, answers.scores)
    against = f"1,000 resamples by scikit-learn: {(process_time() - began) * 1000:.0f} s, extrapolated from one"
    return [
        Row(
            name="interval.cpu_seconds",
            measured=total_s,
            unit="CPU s",
            target=f"<= {MOST_S}",
            ok=total_s <= MOST_S,
            against=f"tables {table_s:.3f}, jackknife the rest; {against}",
        )
    ], []
