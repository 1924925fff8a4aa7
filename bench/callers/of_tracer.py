"""Fit a router of tracer-llm on vectors with their intents, and let it answer others; run by bench/text.py.

usage: of_tracer.py FOLDER AGREEMENT ...

FOLDER has `rows.npz` (`known`, `intents`, `asked`). Writes `answers.npz`: `answer A` and `answered A` of each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import numpy as np
import tracer
from tracer.config import FitConfig

SKIP = ("gbt", "rf", "et", "xgb", "mlp_2h", "sgd_log", "dt")
"""Candidates of its sweep that take longest; two logistic regressions and a network are fitted, four times each.

Of 4,770 messages of CLINC150 `sgd_log` took 30 s of CPU and `dt` 5 s, and their F1 (.80 and .16) is below that of the
regression (.83, 1 s), which the sweep selects.
"""


def main(directory: Path, agreements: list[str]) -> None:
    """Fit and answer, for one agreement after the other."""
    with np.load(directory / "rows.npz") as rows:
        known, intents, asked = rows["known"], rows["intents"], rows["asked"]
    traces = directory / "traces.jsonl"
    lines = [json.dumps({"input": str(index), "teacher": str(intent)}) for index, intent in enumerate(intents)]
    traces.write_text("\n".join(lines) + "\n")
    found = {}
    for agreement in agreements:
        config = FitConfig(
            target_teacher_agreement=float(agreement),
            frontier_targets=(float(agreement),),
            max_fit_labels=len(intents),
            skip_candidates=SKIP,
        )
        router = directory / f"router {agreement}"
        result = tracer.fit(traces, router, embeddings=known, config=config)
        answered, answer = np.zeros(len(asked), bool), np.full(len(asked), "", dtype=intents.dtype)
        if result.manifest.selected_method is not None:
            routed = tracer.load_router(router).predict_batch(asked)
            answered = np.asarray(routed["handled"], bool)
            answer = np.array([label or "" for label in routed["labels"]])
        found |= {f"answer {agreement}": answer, f"answered {agreement}": answered}
    np.savez(directory / "answers.npz", **found)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
