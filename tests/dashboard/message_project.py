"""A project of a shop whose live release reads messages, with a certificate, and whose log has handed-on ones."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from msgspec.structs import replace
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.api.test_text_models import messages
from tests.dashboard.people import Person
from tests.support.shop import REPLIES

import headway
from headway.core.evidence import Measurement
from headway.core.release import Release
from headway.core.selective import AnswerPlan, SelectiveCertificate
from headway.registry.model_registry import UpdateReason
from headway.registry.project import Project, open_project
from headway.storage import segments, traffic

START_US = 1_790_000_000_000_000
N_MESSAGES, N_DAYS = 120, 30
DAY_US = 86_400_000_000


def share(name: str, value: float) -> Measurement:
    """Return a share of 1,000 rows."""
    return Measurement(name=name, value=value, low=value, high=value, method="a test", n_rows=1000)


def plan_of(classes: tuple[str, ...], **fields: object) -> AnswerPlan:
    """Return a plan that answers each class from a probability of .6."""
    certificate = SelectiveCertificate(
        threshold=0.6, coverage=share("answer.coverage", 0.8), risk=share("answer.risk", 0.01), limit=0.05
    )
    thresholds = dict.fromkeys(classes, 0.6)
    return replace(AnswerPlan(rule="probability", thresholds=thresholds, certificate=certificate), **fields)


@functools.cache
def released_pipeline() -> Path:
    """Return a folder with a released text pipeline, made once in a process."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    texts, labels = messages()
    pipeline = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, labels)
    headway.optimize(pipeline, texts, labels, name="shop", budget=20).release(folder=folder)
    return folder


def write_shop(folder: Path) -> Project:
    """Write the project `shop` with a live release of a text pipeline, and return it."""
    shutil.copytree(released_pipeline(), folder, dirs_exist_ok=True)
    with (folder / "headway.toml").open("a") as file:
        file.write('\n[support]\nsender = "help@shop.example"\n')
    (folder / "replies.toml").write_text(REPLIES.replace("2027", "2999"))
    project = open_project(folder)
    bundle = project.registry.resolve("shop@live")
    made = replace(bundle.release, answers=plan_of(bundle.release.variant.signature.classes))
    make_live(project, made)
    return project


def make_live(project: Project, made: Release) -> None:
    """Publish a release with the files of the live one, and make it live."""
    files = project.registry.resolve("shop@live").files
    digest = project.registry.publish(made, files)
    project.registry.point("shop@live", digest, UpdateReason(who="ann", why="a test", verdict=made.verdict))


def log_messages(
    project: Project,
    texts: list[str],
    *,
    answered: list[bool],
    audited: list[bool],
    handed_to: str = traffic.PEOPLE,
    start_us: int = START_US,
    first: int = 0,
) -> None:
    """Log messages over 30 days, keys from `m0`: the model answers `delivery` surely, or hands them on."""
    bundle, n = project.registry.resolve("shop@live"), len(texts)
    classes = bundle.release.variant.signature.classes
    zero = np.zeros(n, dtype=np.int64)
    sure = np.where(answered, 0.9, 0.4)
    outputs = np.tile(((1 - sure) / (len(classes) - 1))[:, None], (1, len(classes)))
    outputs[:, classes.index("delivery")] = sure
    by = np.where(answered, traffic.ANSWERED_BY.index(traffic.MODEL), traffic.ANSWERED_BY.index(handed_to))
    columns: dict[str, segments.Column] = {
        "request": np.arange(n),
        "key": [f"m{first + number}" for number in range(n)],
        "at_us": start_us + np.arange(n) * (N_DAYS * DAY_US // n),
        "stage": zero - 1,
        "paired": zero,
        "answered": zero + 1,
        "status": zero,
        "latency_us": zero + 250,
        "rate": np.ones(n),
        "answered_by": by.astype(np.int8),
        "reason": np.where(answered, 0, traffic.REASONS.index("low_confidence")).astype(np.int8),
        "audit": np.array(audited, dtype=np.int8),
        "text.text": texts,
        "in.text": np.zeros(n),
        **{f"out.{index}": outputs[:, index].copy() for index in range(len(classes))},
    }
    segments.save(traffic.log_folder(project.config.state, "shop", bundle.digest), columns)


def lived_in_shop(folder: Path) -> Project:
    """Write the shop with 120 messages in 30 days: three quarters were answered, every tenth of these is audited."""
    project = write_shop(folder)
    answered = [number % 4 != 3 for number in range(N_MESSAGES)]
    audited = [found and number % 10 == 0 for number, found in enumerate(answered)]
    texts = [f"where is my parcel {number} it should have arrived" for number in range(N_MESSAGES)]
    log_messages(project, texts, answered=answered, audited=audited)
    return project


def summarized(person: Person) -> str:
    """Return the words of the page once the log has been read; the server waits a little for that at each visit."""
    while "The log is being read." in (words := person.get("/models/shop/messages").words):
        pass
    return words
