"""Create a project that runs: from a table, whose column roles are proposed, or with sample data."""

from __future__ import annotations

import json as jsonlib
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import polars as pl
from cyclopts import Parameter
from msgspec.structs import replace

from headway.cli.demo.requests import sample_requests
from headway.cli.main import AsJson
from headway.core import config
from headway.core.dataset import REQUEST
from headway.core.errors import ConfigError, StoreError
from headway.core.variant import DECIDES, MULTILABEL
from headway.core.verdict import Rule
from headway.data.parsing import parse_dates, parse_number_texts
from headway.data.propose import SPLIT_SHARES, Proposal, propose_settings
from headway.data.roles import add_derived_group, toml_key
from headway.data.sampled import read_sample
from headway.data.settings.data import DataSection
from headway.registry.default_policy import default_rules
from headway.registry.judge import CHURN
from headway.registry.rollout import NEW_MODEL_CHURN
from headway.reporting.console import print_result, print_status

DAYS, ROWS_PER_DAY = 120, 60
DEFAULT_CHURN = 0.01
DEPOTS = ("north", "river", "south")
TEMPLATE = Path(__file__).parent.parent / "templates/train.py"
TEXT_TEMPLATE = TEMPLATE.with_name("train_texts.py")
WORDS, CHARACTERS = '"ngram_range": (1, 2)', '"analyzer": "char", "ngram_range": (1, 3)'
_ONE = 'LogisticRegression(C=10.0, solver="saga", tol=0.01, max_iter=1_000, random_state=seed)'
SEVERAL_LABELS = {
    f"    model = {_ONE}\n": f"    model = OneVsRestClassifier(\n        {_ONE}\n    )\n",
    "labels (classes numbered from 0)": "labels (an indicator matrix)",
    "from sklearn.pipeline import": "from sklearn.multiclass import OneVsRestClassifier\nfrom sklearn.pipeline import",
    "logistic regression.": "a logistic regression for each label.",
}
"""What train.py of texts has in place of other lines if a row has several labels."""
SAMPLE = "deliveries.csv"
HEAD = "# A headway project; `headway config` shows every setting.\n"
ASK = '# For each column: "request" if it is known when a prediction is requested, "outcome" if only afterwards.\n'
FLOOR_HELP = {
    "gain_over_constant": "# The floor: the model must know more than a constant prediction,\n",
    "gain_over_reference": "# and not less than a simple reference model, one tree of depth 3.\n",
}
REQUESTS, N_REQUESTS = "requests.csv", 6_000
REPLIES, README = "replies.toml", "README.md"
SUPPORT_README = TEMPLATE.with_name("support.md")
SUPPORT_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "answer": {"limit": 0.05, "stages": ["people"], "audit_share": 0.05},
    "support": {"send": False, "language": "en"},
}
REPLIES_HEAD = "# Replies that are sent word by word. A text is approved once its lines have no # at their beginning.\n"
SAMPLE_NOTE = (
    "The data here are samples: requests to a home, made from sentence patterns of the package home-assistant-intents "
    "(Apache-2.0). They are not messages of customers, and easier. Figures of this project say nothing about yours."
)
KNOWN = "# When each column is known; `headway check` is undecided until each column is declared.\n"


def plugin(
    folder: Path = Path("."),
    *,
    table: Annotated[Path | None, Parameter(name="--from")] = None,
    target: str = "",
    text: tuple[str, ...] = (),
    template: Literal["", "support"] = "",
    json: AsJson = False,
) -> None:
    """Write headway.toml and train.py, and sample data if no table is given; no file is overwritten.

    Example: headway init deliveries
    Example: headway init flights --from table.parquet --target late
    Example: headway init support --from messages.csv --text message --target intent
    Example: headway init shop --template support --from messages.csv --text message --target intent

    Parameters
    ----------
    folder
        Where the project is created.
    table
        A parquet, csv or Arrow file, or a folder of them. The roles of its columns are proposed, for you to correct.
    target
        The column of that file to predict.
    text
        A column of texts; may be repeated. Without it, long and mostly different strings with spaces are proposed.
    template
        support: a project that answers messages of customers, with [answer], replies and a README. Without --from it
        has requests to a home, made from patterns of the package home-assistant-intents.
    """
    interactive = not json and sys.stdin.isatty() and sys.stdout.isatty()
    descriptions, proposal = write_project(
        folder, table, target, text=text, template=template, confirm=ask if interactive else _nothing
    )
    written = {str(folder / name): what for name, what in descriptions.items()}
    option = "" if folder == Path(".") else f" --project {folder}"
    lines = [f"{file}: {what}" for file, what in written.items()]
    lines += _describe(proposal) if table is not None else []
    lines.append("next: read headway.toml, then")
    lines += [f"  headway {command}{option}" for command in ("check", "optimize", "release")]
    print_result({"files": written, "proposal": proposal}, "\n".join(lines), json=json)


def ask(suspects: Mapping[str, str]) -> list[str]:
    """Ask about each column that looks like an outcome; return those that are known only afterwards."""
    found = []
    for name, why in suspects.items():
        print_status(why)
        try:
            answer = input(f"Is '{name}' known only after the outcome? A model must not read it then. [y/N] ")
        except EOFError:
            break
        if answer.strip().lower() in ("y", "yes"):
            found.append(name)
    return found


def _describe(proposal: Proposal) -> list[str]:
    """Return what was proposed, what was ignored and why, and the columns for a person to judge."""
    counted = {"multiclass": "classes", MULTILABEL: "labels"}
    task = proposal.task
    if task in counted:
        task = f"{task}, {proposal.n_classes:,} {counted[task]}"
    positive = f", positive is '{proposal.positive}'" if proposal.positive else ""
    roles = {
        "texts": ", ".join(proposal.text),
        "time": proposal.time,
        "groups": proposal.groups,
        "slices": ", ".join(proposal.slices),
        "sensitive_features": ", ".join(proposal.sensitive_features),
        "known after the outcome": ", ".join(proposal.outcome),
    }
    reasons = {role: f"; {reason}" for role, reason in proposal.reasons.items() if reason}
    lines = [f"target: {proposal.target} ({task}{positive}{reasons.get('task', '')})"]
    lines += [f"{role}: {names}{reasons.get(role, '')}" for role, names in roles.items() if names]
    if not proposal.groups:
        lines.append(
            "groups: none found, so each row counts as independent; name the column of a customer, patient or day"
            + reasons.get("groups", "")
        )
    lines.append(f"features: {len(proposal.features):,}")
    lines += [f"ignored: {name}, {why}" for name, why in proposal.ignored.items()]
    for name, why in proposal.suspects.items():
        lines += [
            f"kept, for you to judge: {why}",
            f'  if so, put this under [data.known] in headway.toml: {toml_key(name)} = "outcome"',
        ]
    return lines


def _nothing(_: Mapping[str, str]) -> Sequence[str]:
    return ()


def write_project(
    folder: Path,
    source: Path | None,
    target: str,
    *,
    text: Sequence[str] = (),
    template: str = "",
    confirm: Callable[[Mapping[str, str]], Sequence[str]] = _nothing,
) -> tuple[dict[str, str], Proposal]:
    """Write a project into a folder, from a table or with sample data; return each file with a description.

    Parameters
    ----------
    folder : Path
        Where the files are written.
    source : Path or None
        The table; None for sample data.
    target : str
        Its column to predict.
    text : sequence of str
        Its columns of texts; without any, they are proposed.
    template : {"", "support"}
        Kind of project.
    confirm : callable
        Maps the columns that look like an outcome, with the evidence, to those that are.

    Raises
    ------
    ConfigError
        If one of the files exists; then nothing is written.
    """
    if source is None:
        for option, value in (("--target", target), ("--text", " ".join(text))):
            if value:
                raise ConfigError(
                    f"{option} is given without a table", where=f"{option} {value}", hint="--from table.parquet"
                )
        table, name, target = sample_deliveries(), SAMPLE, "late"
        if template:
            table, name, target, text = sample_requests(N_REQUESTS), REQUESTS, "intent", ("message",)
    else:
        table, sampled = read_sample(source)
        if sampled:
            print_status(f"{source}: {sampled}")
        table, name = parse_dates(table), os.path.relpath(source, folder)
        table, _ = parse_number_texts(table, [column for column in table.columns if column not in (target, *text)])
    proposal = propose_settings(table, target, text=text)
    if template and proposal.positive:  # each of two intents has replies of its own, so both keep their names
        names = tuple(sorted(table[target].drop_nulls().cast(pl.String).unique()))
        proposal = replace(proposal, task="multiclass", positive="", classes=names)
    proposal = proposal.confirm(confirm(proposal.suspects)) if proposal.suspects else proposal
    sample = table
    table = add_derived_group(table, DataSection(groups=proposal.groups))
    rules = default_rules(proposal.roles, table, judged=1 - max(SPLIT_SHARES))
    files = {
        config.FILE: _toml(_name(folder, proposal), name, proposal, rules, declared=source is None),
        "train.py": _train(proposal),
    }
    if source is None:
        files[name] = sample.write_csv()
    if template:
        files |= _support_files(_name(folder, proposal), proposal, files[config.FILE], is_sample=source is None)
    _write(folder, files)
    descriptions = {
        config.FILE: "the settings, each with its help",
        "train.py": "the model, " + ("TF-IDF and logistic regression" if proposal.text else "LightGBM"),
        SAMPLE: "7,200 synthetic rows",
        REQUESTS: f"{N_REQUESTS:,} requests to a home, made from patterns: not messages of customers",
        REPLIES: "reply texts for you to approve, one for each intent",
        README: "what to do, for the owner of the shop",
    }
    return {name: descriptions[name] for name in files}, proposal


def _support_files(name: str, proposal: Proposal, toml: str, *, is_sample: bool) -> dict[str, str]:
    """Return the files of a project that answers messages, by name: settings, replies to approve, and a README.

    Raises ConfigError unless the target has classes and a column has texts.
    """
    if not proposal.text or proposal.task not in DECIDES:
        raise ConfigError(
            "answers to messages need a column of texts and a target with classes",
            where="--template support",
            hint="--from messages.csv --text message --target intent",
        )
    note = SAMPLE_NOTE if is_sample else "Your messages are the table that `[data] source` names."
    readme = SUPPORT_README.read_text(encoding="utf-8").replace("NAME", name).replace("SOURCE_NOTE", note)
    sections = [_section(section, fields) for section, fields in SUPPORT_SETTINGS.items()]
    intents = proposal.classes or tuple(str(number) for number in range(proposal.n_classes))
    return {
        config.FILE: "\n".join([toml, *sections]),
        REPLIES: REPLIES_HEAD + "".join(map(_proposed_reply, intents)),
        README: readme,
    }


def _proposed_reply(intent: str) -> str:
    """Return a reply that is not approved yet, so each of its lines is a comment."""
    lines = ["[[reply]]", f"intent = {_value(intent)}", 'language = "en"', "valid_until = 2027-12-31", 'text = "..."']
    return "\n" + "".join(f"# {line}\n" for line in lines)


def _write(folder: Path, files: Mapping[str, str]) -> None:
    existing = [name for name in files if (folder / name).exists()]
    if existing:
        raise ConfigError(
            f"{', '.join(existing)} already exists and is not overwritten",
            where=str(folder.resolve()),
            hint="headway init ANOTHER_FOLDER",
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise StoreError(f"cannot write the project: {error.strerror}", where=str(folder)) from error


def _name(folder: Path, proposal: Proposal) -> str:
    """Return the folder's name as a valid release name, else that of the target."""
    for text in (folder.resolve().name, proposal.target):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:64]
        if name:
            return name
    return "model"


def _train(proposal: Proposal) -> str:
    """Return train.py with the categorical columns and the objective of this table."""
    if proposal.text:
        return _train_on_texts(proposal)
    if proposal.task == MULTILABEL:
        raise ConfigError(
            f"'{proposal.target}' has several labels a row, and the templates for these read a column of texts",
            where="--target",
            hint="--text COLUMN, or write headway.toml and a train.py that fits an indicator matrix (n, k) yourself",
        )
    classes = {"num_class": proposal.n_classes} if proposal.task == "multiclass" else {}
    objective = {"objective": proposal.task, **classes}
    text = TEMPLATE.read_text(encoding="utf-8")
    text = text.replace("CATEGORIES: tuple[str, ...] = ()", f"CATEGORIES: tuple[str, ...] = {proposal.categories!r}")
    return text.replace('OBJECTIVE = {"objective": "binary"}', f"OBJECTIVE = {jsonlib.dumps(objective)}")


def _train_on_texts(proposal: Proposal) -> str:
    """Return train.py with the columns of texts, numbers and categories of this table."""
    others = [name for name in proposal.features if name not in (*proposal.text, *proposal.categories)]
    constants = {"TEXTS": proposal.text, "NUMBERS": tuple(others), "CATEGORIES": proposal.categories}
    text = TEXT_TEMPLATE.read_text(encoding="utf-8")
    for name, columns in constants.items():
        text = text.replace(f"{name}: tuple[str, ...] = ()", f"{name}: tuple[str, ...] = {columns!r}")
    if proposal.task == "regression":
        text = text.replace("LogisticRegression", "Ridge").replace('solver="saga", ', "")
        text = text.replace("Ridge(C=10.0, tol=0.01, max_iter=1_000, random_state=seed)", "Ridge(random_state=seed)")
        text = text.replace("logistic regression", "ridge regression")
    if proposal.task == MULTILABEL:
        for before, after in SEVERAL_LABELS.items():
            text = text.replace(before, after)
    if proposal.is_unspaced:
        text = text.replace(WORDS, CHARACTERS).replace("word 1- and 2-grams", "1- to 3-grams of characters")
    return text


def _toml(name: str, source: str, proposal: Proposal, rules: tuple[Rule, ...], *, declared: bool) -> str:
    """Return headway.toml; `declared` marks every feature as known at request time."""
    data = {
        "source": source,
        "task": proposal.task,
        "target": proposal.target,
        "positive": proposal.positive,
        "classes": list(proposal.classes),
        "time": proposal.time,
        "groups": proposal.groups,
        "slices": list(proposal.slices),
        "sensitive_features": list(proposal.sensitive_features),
        "text": list(proposal.text),
        "ignore": list(proposal.ignore),
    }
    parts = [
        HEAD,
        _section("project", {"name": name}),
        _section("data", {field: value for field, value in data.items() if value}),
        _known(proposal, declared=declared),
        _section("split", {period: list(bounds) for period, bounds in proposal.split.items()}),
        _section("model", {"train": "train:train"}),
        _section("rollout", _rollout_limits(proposal.task, rules)),
        *map(_rule, rules),
    ]
    return "\n".join(part for part in parts if part)


def _section(name: str, fields: Mapping[str, object]) -> str:
    lines = [f"# {config.described(f'{name}.{field}')}\n{field} = {_value(value)}\n" for field, value in fields.items()]
    return f"[{name}]\n{''.join(lines)}" if lines else ""


def _known(proposal: Proposal, *, declared: bool) -> str:
    after = [f'{toml_key(name)} = "outcome"\n' for name in proposal.outcome]
    after += [f'# {why}; if so:\n# {toml_key(name)} = "outcome"\n' for name, why in proposal.suspects.items()]
    mark = "" if declared else "# "
    before = [f'{mark}{toml_key(name)} = "{REQUEST}"\n' for name in proposal.features if name not in proposal.suspects]
    return f"[data.known]\n{KNOWN}{'' if declared else ASK}{''.join([*after, *before])}"


def _rollout_limits(task: str, rules: tuple[Rule, ...]) -> dict[str, float]:
    """Return the limits on decisions that differ from live's, for another form of its model and for a new model."""
    if task not in (*DECIDES, MULTILABEL):
        return {}
    churn = next((rule.at_most for rule in rules if rule.measure == CHURN), None)
    return {"churn_same_model": DEFAULT_CHURN if churn is None else churn, "churn_new_model": NEW_MODEL_CHURN}


def _rule(rule: Rule) -> str:
    about = FLOOR_HELP.get(rule.measure, "")
    limit = f"at_least = {rule.at_least}" if rule.at_most is None else f"at_most = {rule.at_most}"
    return f'{about}[[policy.release]]\nmeasure = "{rule.measure}"\n{limit}\n'


def _value(value: object) -> str:
    """Return a string or a list of strings as TOML, which is written like JSON."""
    return jsonlib.dumps(value, ensure_ascii=False)


def sample_deliveries() -> pl.DataFrame:
    """Return 7,200 synthetic deliveries of 120 days.

    Rain and long distances increase the risk of a late delivery; 4 % of the rain values are missing.
    """
    draw = np.random.default_rng(7)
    rows = DAYS * ROWS_PER_DAY
    day = np.repeat(np.arange(DAYS), ROWS_PER_DAY)
    minute = draw.integers(7 * 60, 20 * 60, rows)
    depot = draw.integers(0, len(DEPOTS), rows)
    distance_km = draw.gamma(2.0, 6.0, rows) + 2 * depot
    parcels = draw.poisson(4, rows) + 1
    rain_mm = np.maximum(0, draw.normal(-1, 3, DAYS))[day] * draw.uniform(0.5, 1.5, rows)
    traffic = draw.normal(0, 0.6, DAYS)[day] + (np.abs(minute - 17 * 60) < 90)
    strain = distance_km / 9 + rain_mm / 3 + parcels / 8 + traffic - 4
    late = draw.random(rows) < 1 / (1 + np.exp(-strain))
    start = datetime(2025, 1, 1)
    at = [
        start + timedelta(days=int(number), minutes=int(minutes)) for number, minutes in zip(day, minute, strict=True)
    ]
    return pl.DataFrame(
        {
            "ordered_at": at,
            "day": [time.date() for time in at],
            "minute": minute,
            "depot": [DEPOTS[number] for number in depot],
            "distance_km": np.round(distance_km, 1),
            "parcels": parcels,
            "rain_mm": [
                None if missing else round(rain, 1)
                for rain, missing in zip(rain_mm, draw.random(rows) < 0.04, strict=True)
            ],
            "late": late.astype(np.int8),
        }
    ).sort("ordered_at")
