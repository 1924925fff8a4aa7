"""Rows of selective answering next to tracer-llm and shrewd, and of messages outside of all intents.

All choose on the messages of training and validation and on half of the test messages, and answer the other half, which
have an intent. A gain is by how much more headway answers at the realised agreement of the peer.

- tracer-llm takes vectors: it gets `N_VECTORS` components of the same tf-idf, and headway certifies a logistic
  regression over them as well. The forests and two slow candidates of its sweep are left out (callers/of_tracer.py):
  an agreement then takes about 50 s of CPU in place of hours.
- Rows `_views` are of the mean of that model and of one of n-grams of characters. The peers could read these as well.
- shrewd takes texts and the same vectorizer with its own logistic regression of the same C. It bounds the share of all
  requests that are answered wrongly, and headway that of the answered ones, so its budget is the looser limit.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.core.answering import confidences
from headway.core.arrays import Bools, Floats, Ints
from headway.evaluation.answer_plan import LabeledAnswers, make_plan
from headway.evaluation.settings.answer import AnswerSection
from text_rows import messages

AGREEMENTS, N_VECTORS, MOST_FALSE_REJECTS, LEAST_GAIN, SPLITS = (0.95, 0.98), 256, 0.05, 0.05, 2
TINY = {"AGREEMENTS": (0.95,), "N_VECTORS": 16}


def peers() -> Result:
    """Compare the coverage with that of tracer-llm and shrewd, each as its own project uses it."""
    rows, short = list[Row](), list[str]()
    known = messages.load()
    held_out, rest = _halves(known.test)
    words = joblib.load(messages.fitted("words") / "model.joblib")
    vectorizer, classes = words[0], words[-1].classes_
    reducer = TruncatedSVD(N_VECTORS, random_state=0).fit(vectorizer.transform(known.train.texts))

    def vectors(split: messages.Split) -> Floats:
        return np.asarray(reducer.transform(vectorizer.transform(split.texts)))

    dense = LogisticRegression(C=messages.C).fit(vectors(known.train), known.train.intents)
    characters = joblib.load(messages.fitted("characters") / "model.joblib")
    parts = (known.validation, held_out, rest)
    answers = {
        "": [_labeled(words.predict_proba(each.texts), each, classes) for each in parts],
        "_views": [
            _labeled((words.predict_proba(each.texts) + characters.predict_proba(each.texts)) / 2, each, classes)
            for each in parts
        ],
        "_vectors": [_labeled(dense.predict_proba(vectors(each)), each, classes) for each in parts],
    }
    calibration = messages.Split(
        texts=[*known.validation.texts, *held_out.texts], intents=[*known.validation.intents, *held_out.intents]
    )
    everything = messages.Split(
        texts=[*known.train.texts, *calibration.texts], intents=[*known.train.intents, *calibration.intents]
    )

    def tracer(directory: Path) -> None:
        np.savez(
            directory / "rows.npz",
            known=vectors(everything).astype(np.float32),
            intents=np.array(everything.intents),
            asked=vectors(rest).astype(np.float32),
        )

    def shrewd(directory: Path) -> None:
        found = {
            "train": [known.train.texts, known.train.intents],
            "held_out": [calibration.texts, calibration.intents],
            "asked": rest.texts,
            "C": messages.C,
            "splits": SPLITS,
        }
        (directory / "rows.json").write_text(json.dumps(found), "utf-8")

    theirs = dict[str, list[tuple[float, float]]]()
    for name, write in (("shrewd", shrewd), ("tracer", tracer)):
        try:
            theirs[name] = _peer(name, write, rest)
        except Absent as error:
            short.append(f"{name}: not measured: {error}")
    for number, agreement in enumerate(AGREEMENTS):
        own = {suffix: _planned(found, agreement) for suffix, found in answers.items()}
        percent = f"{agreement * 100:.0f}"
        rows += [_shown(f"select.own_{percent}{suffix}", *own[suffix][:2], rest) for suffix in own]
        for name, found in theirs.items():
            coverage, agreed = found[number]
            rows.append(_shown(f"select.{name}_{percent}", coverage, agreed, rest))
            compared = own if name == "tracer" else ("", "_views")
            rows += [_gain(name, percent, suffix, own[suffix][2], found[number]) for suffix in compared]
    return messages.with_source((rows, short))


def outside() -> Result:
    """Recall of messages outside of all intents where 5 % of the messages with an intent are rejected on validation.

    The recipes of the papers know no message outside: the largest softmax probability (Hendrycks and Gimpel 2017), the
    energy at temperature 1 (Liu et al. 2020), and the Mahalanobis distance to the nearest class mean with one
    covariance (Lee et al. 2018), over `N_VECTORS` components of tf-idf. headway's rules have a class of rejects.
    """
    known = messages.load()
    model = joblib.load(messages.fitted("words") / "model.joblib")
    vectorizer, linear = model[0], model[-1]
    train = vectorizer.transform(known.train.texts)
    reducer = TruncatedSVD(N_VECTORS, random_state=0).fit(train)
    nearest = _mahalanobis(reducer.transform(train), np.array(known.train.intents))
    learned = make_pipeline(TfidfVectorizer(**messages.VECTORIZERS["words"]), LogisticRegression(C=messages.C))
    learned.fit([*known.train.texts, *known.outside_train.texts], [*known.train.intents, *known.outside_train.intents])
    reject = list(learned[-1].classes_).index(messages.OUT_OF_SCOPE)

    def scores(texts: list[str]) -> Floats:
        return np.asarray(linear.decision_function(vectorizer.transform(texts)))

    def with_class(rule: str) -> Callable[[list[str]], Floats]:
        def confidence(texts: list[str]) -> Floats:
            answer, found = confidences(rule, learned.predict_proba(texts), reject=reject)  # type: ignore[arg-type]
            return np.where(answer == reject, -np.inf, found)

        return confidence

    recipes: dict[str, Callable[[list[str]], Floats]] = {
        "msp": lambda texts: model.predict_proba(texts).max(axis=1),
        "energy": lambda texts: np.logaddexp.reduce(scores(texts), axis=1),
        "mahalanobis": lambda texts: nearest(reducer.transform(vectorizer.transform(texts))),
        **{f"headway_{rule}": with_class(rule) for rule in ("probability", "margin", "entropy", "odds")},
    }
    rows = []
    for name, confidence in recipes.items():
        threshold = float(np.quantile(confidence(known.validation.texts), MOST_FALSE_REJECTS))
        rejected, false = (
            float((confidence(split.texts) < threshold).mean()) for split in (known.outside_test, known.test)
        )
        about = f"{len(known.outside_test.texts):,} messages; with an intent: {false:.4f} of {len(known.test.texts):,}"
        rows.append(shown(f"oos.recall_{name}", rejected, "share", about))
    return messages.with_source((rows, []))


def _mahalanobis(vectors: Floats, intents: np.ndarray[tuple[int], np.dtype[np.str_]]) -> Callable[[Floats], Floats]:
    """Return the negative squared distance to the nearest class mean."""
    classes, codes = np.unique(intents, return_inverse=True)
    means = np.stack([vectors[codes == index].mean(axis=0) for index in range(len(classes))])
    apart = vectors - means[codes]
    root = np.linalg.cholesky(np.linalg.pinv(apart.T @ apart / len(apart)) + 1e-9 * np.eye(vectors.shape[1]))
    centres = means @ root

    def confidence(rows: Floats) -> Floats:
        placed = rows @ root
        squares = (placed**2).sum(axis=1)[:, None] - 2 * placed @ centres.T + (centres**2).sum(axis=1)
        return np.asarray(-squares.min(axis=1))

    return confidence


def _halves(split: messages.Split) -> tuple[messages.Split, messages.Split]:
    order = np.random.default_rng(0).permutation(len(split.texts))
    first, second = (
        messages.Split(texts=[split.texts[row] for row in rows], intents=[split.intents[row] for row in rows])
        for rows in (order[::2], order[1::2])
    )
    return first, second


def _labeled(
    probabilities: Floats, split: messages.Split, classes: np.ndarray[tuple[int], np.dtype[np.str_]]
) -> LabeledAnswers:
    labels = np.searchsorted(classes, split.intents).astype(np.int64)
    return LabeledAnswers(
        classes=tuple(map(str, classes)), probabilities=probabilities, labels=labels, groups=None, threshold=0.5
    )


def _planned(parts: list[LabeledAnswers], agreement: float) -> tuple[float, float, tuple[Floats, Bools]]:
    """Return coverage and realised agreement of headway on the other half, and confidence and agreement of its rows."""
    validation, held_out, rest = parts
    plan = make_plan(validation, held_out, AnswerSection(limit=1 - agreement))
    decided = rest.decided(plan)
    agrees = decided.answer == rest.labels
    answered = decided.is_answered
    share = float(agrees[answered].mean()) if answered.any() else 0.0
    return float(answered.mean()), share, (decided.confidence, agrees)


def _coverage_at(rows: tuple[Floats, Bools], agreement: float) -> float:
    """Return the largest share of rows with at least this agreement, the most confident ones first."""
    confidence, agrees = rows
    order: Ints = np.argsort(-confidence, kind="stable")
    shares = np.cumsum(agrees[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(shares >= agreement)
    return (int(enough[-1]) + 1) / len(order) if len(enough) else 0.0


def _peer(name: str, write: Callable[[Path], None], rest: messages.Split) -> list[tuple[float, float]]:
    """Return coverage and realised agreement of a peer on the other half, for each of AGREEMENTS."""
    python = home(name)
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        write(directory)
        asked = [f"{agreement:g}" for agreement in AGREEMENTS]
        run = subprocess.run(
            [str(python), str(HERE / f"callers/of_{name}.py"), made, *asked], capture_output=True, text=True
        )
        if run.returncode:
            raise Absent((run.stderr.strip() or "no output").splitlines()[-1])
        with np.load(directory / "answers.npz") as found:
            both = [(found[f"answered {each}"], found[f"answer {each}"] == np.array(rest.intents)) for each in asked]
    return [
        (float(answered.mean()), float(agrees[answered].mean()) if answered.any() else 0.0) for answered, agrees in both
    ]


def _gain(name: str, percent: str, suffix: str, own: tuple[Floats, Bools], theirs: tuple[float, float]) -> Row:
    """Return by how much more of the rows headway answers at the agreement that a peer realised."""
    coverage, agreed = theirs
    more = _coverage_at(own, agreed if coverage else float(percent) / 100) - coverage
    about = f"coverage at agreement {agreed:.4f}, less that of {name}; on the same test messages"
    is_shown = suffix == "_views"
    return Row(
        name=f"select.gain_over_{name}_{percent}{suffix}",
        measured=more,
        unit="share",
        target="shown" if is_shown else f">= {LEAST_GAIN}",
        ok=is_shown or more >= LEAST_GAIN,
        against=f"{about}; headway reads characters as well" if is_shown else about,
    )


def _shown(name: str, coverage: float, agreed: float, rest: messages.Split) -> Row:
    return shown(name, coverage, "share", f"realised agreement {agreed:.4f} on {len(rest.texts):,} test messages")
