"""Run the demo of messages: train, certify, serve, fill the queue, see a shift, withdraw, train again, and recover."""

from __future__ import annotations

import time
from collections.abc import Mapping
from getpass import getuser
from pathlib import Path
from random import Random
from typing import NamedTuple

import polars as pl
from rich.console import Console

from headway import pipeline
from headway.cli.commands.init import write_project
from headway.cli.demo.replay import server
from headway.cli.demo.requests import sample_requests
from headway.cli.demo.run import StageReporter
from headway.core import config
from headway.core.errors import DataError
from headway.core.selective import CertificateAudit
from headway.core.support import MessageSummary
from headway.monitoring.messages import summarize_messages, waiting_messages
from headway.optimization.screening import TimeBudget
from headway.registry.project import Project, open_project
from headway.reporting.console import make_console
from headway.reporting.text.formatting import format_measurement
from headway.serving.client import Client
from headway.storage import atomic
from headway.storage.traffic import Label, save_labels

TABLE, REPORT = "requests.csv", "support-report.md"
N_TRAINING, N_MESSAGES, N_AFTER = 4_000, 500, 2_400
SHORT_SHARE = 0.5
"""Share of the messages that are cut to their first two words, as people write in a hurry."""
MAX_ROUNDS = 6
"""Rounds of messages after the shift, until the checks show it: which answers are checked is drawn at random."""
BUDGET_S = 60.0
CHANGED = {"longer_timer": "shorter_timer", "shorter_timer": "longer_timer"}
"""What the shop decides differently after the shift: two kinds of messages exchange their answers."""
WAIT_S = 60.0
PERSON = "ann"
LEAD = (
    "The messages are requests to a home, made from sentence patterns of the package home-assistant-intents "
    "(Apache-2.0); half of them are cut to two words. They are not messages of customers, and the person who answers "
    "is a program that knows the right answer. The figures show that the steps work, and nothing about your messages."
)


class Answered(NamedTuple):
    """Messages that were sent, by key, and how many the model answered."""

    texts: dict[str, str]
    n_by_model: int

    @property
    def sentence(self) -> str:
        """Return how many the model answered."""
        n = len(self.texts)
        return f"Of {n:,} messages the program answered {self.n_by_model:,} by itself ({self.n_by_model / n:.0%})."


def run_support(folder: Path, *, screen: Console | None = None) -> Path:
    """Run the demo in a new folder and return the path of its report."""
    reporter, lines = StageReporter(screen or make_console()), [LEAD]

    def say(sentence: str) -> None:
        lines.append(sentence)
        reporter.show(sentence)

    with reporter.stage("Make a project, train, and find out which messages may be answered"):
        project = open_shop(folder)
        say(certify(project))
    before = people_write(N_TRAINING, N_MESSAGES, seed=1)
    with reporter.stage(f"{N_MESSAGES} messages arrive; the queue fills, and a person answers it"):
        say(send_messages(project, before).sentence)
        say(answer_queue(project, before))
        say(describe_summary(summarize_messages(project)))
        say(audit_checked(project))
    n_before = N_TRAINING + N_MESSAGES
    with reporter.stage("The shop changes: two kinds of messages need another answer"):
        say(
            "From now on a message that makes a timer longer needs the answer that those for shorter ones had, and the "
            "other way round. The program does not know."
        )
        for number in range(MAX_ROUNDS):
            after = people_write(n_before, N_MESSAGES, seed=10 + number, changed=CHANGED)
            n_before += N_MESSAGES
            say(send_messages(project, after).sentence)
            say(answer_queue(project, after))
            say(audit_checked(project))
            if is_withdrawn(project):
                break
    later = people_write(n_before, N_AFTER, seed=3, changed=CHANGED)
    n_before += N_AFTER
    with reporter.stage(f"{N_AFTER:,} messages more; people answer them all"):
        say(send_messages(project, later).sentence)
        say(learn_from_people(project, later))
    with reporter.stage("Train again on the answers of people, and certify again"):
        say(certify(project))
    recovered = people_write(n_before, N_MESSAGES, seed=4, changed=CHANGED)
    with reporter.stage(f"{N_MESSAGES} messages arrive: the program answers again"):
        say(send_messages(project, recovered).sentence)
        say(answer_queue(project, recovered))
        say(audit_checked(project))
    project.state.close()
    report = folder / REPORT
    atomic.write(report, ("# What happened to the messages\n\n" + "\n\n".join(lines) + "\n").encode())
    reporter.show(f"report: {report.resolve()}")
    return report


def people_write(start: int, n: int, *, seed: int, changed: Mapping[str, str] = {}) -> pl.DataFrame:
    """Return messages with the intent that is right at their time; `start` counts the messages before them."""
    table, random = sample_requests(n, seed=seed), Random(seed)
    texts = [
        " ".join(text.split()[:2]) if random.random() < SHORT_SHARE else text for text in table["message"].to_list()
    ]
    return table.with_columns(
        message=pl.Series(texts),
        intent=pl.col("intent").replace(dict(changed)),
        key=pl.Series([f"message-{start + number}" for number in range(n)]),
    )


def open_shop(folder: Path) -> Project:
    """Make the project of the shop: by the template, with messages that do not depend on one another."""
    table = people_write(0, N_TRAINING, seed=0).select("message", "intent")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / config.FILE).exists():
        raise DataError("the folder has a project already", where=str(folder), hint="--folder ANOTHER_FOLDER")
    table.write_csv(folder / TABLE)
    write_project(folder, folder / TABLE, "intent", text=("message",), template="support")
    file = folder / config.FILE
    settings = file.read_text(encoding="utf-8").replace("audit_share = 0.05", "audit_share = 0.3")
    settings = settings.replace("# message = ", "message = ")
    file.write_text(settings, encoding="utf-8")
    return open_project(folder)


def certify(project: Project) -> str:
    """Train, search, certify and release; return what the certificate says."""
    data = pipeline.periods(project)
    found = pipeline.optimize(project, pipeline.train(project, data), data, budget=TimeBudget(BUDGET_S))
    verdict = found.winner.verdict
    override = "" if verdict.answer == "pass" else "the demo goes on"
    pipeline.release(project, found, who=getuser(), why="the demo", override=override)
    plan = found.answers
    if plan is None or not plan.certificate.is_certified:
        return "Nothing could be certified: people answer every message until there are more of them."
    n, certificate = plan.certificate.coverage.n_rows, plan.certificate
    return (
        f"Tested on {n:,} messages that it had not seen, the program may answer {certificate.coverage.value:.0%} by "
        f"itself. Of these answers {certificate.risk.value:.1%} were wrong; it is certified that at most "
        f"{certificate.limit:.0%} are."
    )


def send_messages(project: Project, messages: pl.DataFrame) -> Answered:
    """Send messages to a server over HTTP, one by one, and wait until its log is on disk."""
    with server(Path(project.config.folder), f"{project.name}@live") as address, Client(address) as client:
        texts, n = dict(zip(messages["key"], messages["message"], strict=True)), 0
        for key, text in texts.items():
            found = client.infer_answers(project.name, {"message": [text]}, key=key)
            n += found.answered_by[0] == "model"
    return Answered(texts, n)  # a server that ends has written its log


def answer_queue(project: Project, messages: pl.DataFrame) -> str:
    """Let the person answer the queue: what was handed on, and the answers drawn for the audit."""
    right, classes = dict(zip(messages["key"], messages["intent"], strict=True)), _classes(project)
    began = time.monotonic()
    waiting = [one for one in waiting_messages(project, 10_000) if one.key in right]
    while not waiting and time.monotonic() < began + WAIT_S:
        time.sleep(0.2)
        waiting = [one for one in waiting_messages(project, 10_000) if one.key in right]
    labels = [Label(one.key, classes[right[one.key]]) for one in waiting]
    save_labels(project.config.state, project.name, labels, who=PERSON)
    drawn = sum(one.reason == "audit" for one in waiting)
    return (
        f"A person answered {len(waiting) - drawn:,} that were handed on, and checked {drawn:,} answers of the program."
    )


def learn_from_people(project: Project, messages: pl.DataFrame) -> str:
    """Let people answer every message, and make these answers the table that the model learns from."""
    classes = _classes(project)
    labels = [Label(key, classes[intent]) for key, intent in messages.select("key", "intent").iter_rows()]
    save_labels(project.config.state, project.name, labels, who=PERSON)
    messages.select("message", "intent").write_csv(Path(project.config.folder) / TABLE)
    return f"People answered all {len(messages):,}. The program learns from these answers."


def audit_checked(project: Project) -> str:
    """Compare the checked answers with the certificate, and withdraw it if they break it."""
    found = pipeline.audit_certificate(project)
    if found is None:
        return "Without a certificate, nothing is audited."
    checked = f"Of {found.n_labeled:,} checked answers " + (
        f"{found.risk.value:.0%} were wrong." if found.risk else "none has a label yet."
    )
    if found.withdrawn:
        return (
            f"{checked} More than {found.limit:.0%} may not be: the certificate is withdrawn for "
            f"{', '.join(found.withdrawn)}. People answer these messages until the program has learned."
        )
    return f"{checked} The certificate stands."


def is_withdrawn(project: Project) -> bool:
    """Return whether the last audit withdrew the certificate of the live release."""
    found = project.latest(CertificateAudit)
    return found is not None and bool(found.withdrawn)


def describe_summary(found: MessageSummary) -> str:
    """Return what became of the messages, with intervals."""
    parts = []
    if found.corrected:
        parts.append(f"share of the program's answers corrected: {format_measurement(found.corrected)}")
    if found.first_answer:
        parts.append(f"median time to the first answer: {format_measurement(found.first_answer)}")
    if found.hours_saved:
        parts.append(f"hours saved at 5 minutes a message: {format_measurement(found.hours_saved)}")
    return f"{'; '.join(parts)[:1].upper()}{'; '.join(parts)[1:]}." if parts else "Nothing is measured yet."


def _classes(project: Project) -> dict[str, float]:
    names = project.registry.resolve(f"{project.name}@live").release.variant.signature.classes
    return {name: float(index) for index, name in enumerate(names)}
