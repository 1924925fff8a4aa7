"""Fit a student of shrewd on texts with their intents, set its routing, and let it answer; run by bench/text.py.

usage: of_shrewd.py FOLDER AGREEMENT ...

FOLDER has `rows.json` (`train`, `held_out`: texts and intents; `asked`: texts; `C`). The budget, the share of all
requests that may be answered wrongly, is 1 - AGREEMENT. Writes `answers.npz`: `answer A` and `answered A` of each.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

import numpy as np
from shrewd.decide import Choice
from shrewd.decisions import DecisionStudent
from sklearn.feature_extraction.text import TfidfVectorizer


def main(directory: Path, agreements: list[str]) -> None:
    """Fit once, set the routing for each agreement, and answer."""
    rows = json.loads((directory / "rows.json").read_text("utf-8"))
    (texts, intents), (held_out, held_out_intents) = rows["train"], rows["held_out"]
    classes = sorted(set(intents))

    def targets(names: list[str]) -> dict[str, np.ndarray]:
        return {"intent": np.array([[float(name == each) for each in classes] for name in names])}

    question = Choice("Which intent?", {name: name for name in classes})
    student = DecisionStudent({"intent": question}, lambda: TfidfVectorizer(ngram_range=(1, 2)), C=rows["C"])
    student.fit(texts, targets(intents)).calibrate(texts, targets(intents), n_splits=rows["splits"])
    answer = np.array(classes)[student.predict_proba(rows["asked"])["intent"].argmax(axis=1)]
    answered = {}
    for agreement in agreements:
        student.set_routing(held_out, targets(held_out_intents), budget=1 - float(agreement))
        answered[f"answered {agreement}"] = student.local(rows["asked"])
    np.savez(directory / "answers.npz", **{f"answer {agreement}": answer for agreement in agreements}, **answered)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
