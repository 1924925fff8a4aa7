"""Rows of `headway export edge`: one LightGBM model as C by headway and by four generators.

The object code is counted by `size` (code, constants and data). Speeds are CPU times of one row in turns on one thread:
C calls a C function, and the kernel is called from Python, so the time of such a call of an empty forest is subtracted.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.append(str(Path(__file__).parents[2]))

import joblib
import lightgbm as lgb
import numpy as np
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tests.deployment.edge.packages import made_release, text_release, write_sources
from tests.engines.made_forests import Shape, made

from cache import HERE, Absent, folder, home, versions
from cache import made as filled
from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.deployment.edge.c_source import string
from headway.engines.compiled.artifact import LEVELS as ENGINE_LEVELS
from headway.engines.compiled.artifact import load_kernels
from headway.engines.compiled.forest import compile_forest, read_forest
from headway.engines.compiled.text import TextModel
from headway.engines.estimators.texts import text_program
from headway.engines.lightgbm import plugin as LightGBM
from headway.engines.trees import Trees

TREES, LEAVES, WIDTH = 200, 31, 20
FITTED, EQUAL, COMPARED, TURN, TURNS = 20_000, 100_000, 10_000, 1_000, 101
MAX_KB, MIN_RATIO, TOLERANCE = 300.0, 1.0, 1e-6
LEVELS = ("-O2", "-Os")
NATIVE = "-O2 -march=native"
SPEEDS = ("-O2", NATIVE)
WORDS, INTENTS, LENGTH, MESSAGES, NGRAMS = 1_500, 20, 12, 4_000, 5_000
TINY = {"TREES": 3, "MESSAGES": 200, "FITTED": 500, "EQUAL": 500, "COMPARED": 300, "TURN": 100, "TURNS": 3}
PEERS = {"m2cgen": "m2cgen", "tl2cgen": "tl2cgen", "emlearn": "emlearn", "timber": "timber --no-optimize"}
PROGRAMS = ("_cli", "_http", "verify")
ARM = ("aarch64-linux-gnu-gcc", "qemu-aarch64", "-L", "/usr/aarch64-linux-gnu")
OWN_GLUE = """#include "flights.h"
static int prepare(void) { return flights_self_test(); }
static double score_row(const double *row) { double score; return flights_scores(row, &score) ? -1 : score; }
"""
TEXTS_GLUE = """#include "intents.h"
static const char *const messages[] = {
@messages@
};
static int prepare(void) { return intents_self_test(); }
static double score_row(const double *row) {
  double scores[INTENTS_OUTPUTS];
  return intents_scores(row, messages + (int)row[0], scores) ? -1 : scores[0];
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The fitted model, as the peers read it and compiled for the kernel, and rows."""

    folder: Path
    forest: bytes
    rows: Floats
    compared: Floats

    @property
    def rows_file(self) -> Path:
        """The rows as the driver reads them."""
        return self.folder / "rows.bin"


def rows() -> Result:
    """Generate, compile, compare and time."""
    short: list[str] = []
    model = fitted_model()
    own = folder("edge-headway", of=[])
    shutil.rmtree(own, ignore_errors=True)
    release = made_release(model.forest, model.rows[:32], portable(model).predict(model.rows[:32]))
    write_sources(release, own)
    (own / "glue.h").write_text(OWN_GLUE, encoding="utf-8")
    found = [*_sizes("headway", own), *_equal(model, own, short), *_differences("headway", model, own)]
    drivers = {("headway", level): _driver(own, level) for level in SPEEDS}
    for peer, named in PEERS.items():
        try:
            made_by = _generated(peer, model)
            found += [*_sizes(named, made_by), *_differences(named, model, made_by)]
            drivers |= {(named, level): _driver(made_by, level) for level in SPEEDS}
        except Absent as error:
            short.append(f"{peer}: {error}")
    return [*found, *_speeds(model, drivers), *_texts()], short


def fitted_model() -> Model:
    """Return the model of all parts, which is fitted once, and its rows."""

    def fit(where: Path) -> None:
        random = np.random.default_rng(0)
        x = random.normal(size=(FITTED, WIDTH))
        y = x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=FITTED) > 0
        fitted = lgb.LGBMClassifier(n_estimators=TREES, num_leaves=LEAVES, n_jobs=1, verbose=-1).fit(x, y)
        fitted.booster_.save_model(where / "model.txt")
        joblib.dump(fitted, where / "model.joblib")

    where = filled(folder("edge-model", of=[str((TREES, LEAVES, WIDTH, FITTED)), *versions()]), fit)
    forest = compile_forest(LightGBM.forest((where / "model.txt").read_bytes()))
    model = Model(folder=where, forest=forest, rows=_rows(forest), compared=_compared(forest))
    model.rows.tofile(model.rows_file)
    return model


def _rows(forest: bytes) -> Floats:
    """Rows of which a fifth of the values are thresholds or their successors, and a twentieth are missing."""
    random = np.random.default_rng(3)
    values = _with_thresholds(random.normal(size=(EQUAL, WIDTH)), forest, random)
    values[random.random(values.shape) < 0.05] = np.nan
    return values


def _compared(forest: bytes) -> Floats:
    """Ordinary rows, rows with thresholds, and rows with missing values, equally many of each."""
    random = np.random.default_rng(4)
    ordinary, more, missing = np.split(random.normal(size=(3 * COMPARED, WIDTH)), 3)
    missing[random.random(missing.shape) < 0.05] = np.nan
    return np.concatenate([ordinary, _with_thresholds(more, forest, random), missing])


def _with_thresholds(values: Floats, forest: bytes, random: np.random.Generator) -> Floats:
    _, _, _, index, _, start, tables, *_ = read_forest(forest)
    for column, first, last in zip(index, start, start[1:], strict=False):
        at = random.random(len(values)) < 0.2
        picked = random.choice(tables[first:last], at.sum())
        values[at, column] = np.where(random.random(at.sum()) < 0.5, picked, np.nextafter(picked, np.inf))
    return values


def portable(model: Model) -> Trees:
    """Return the kernel whose bits are expected."""
    return Trees(model.forest, {"level": "portable"})


def _generated(peer: str, model: Model) -> Path:
    python, script = home(peer), HERE / "peers/of_c_generators.py"

    def generate(where: Path) -> None:
        command = [str(python), str(script), peer, str(model.folder), str(where)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            raise Absent(f"it cannot express the model: {run.stderr.strip().splitlines()[-1]}")

    return filled(folder(f"edge-{peer}", of=[str(python), str(model.folder), script.read_text("utf-8")]), generate)


def joined(flags: str) -> str:
    """Return the flags of a compiler as part of a name."""
    return flags.replace(" ", "")


def _compile(compiler: str, where: Path, level: str) -> list[Path]:
    """Compile the C files of a generator as it recommends: each alone, without contraction."""
    sources = sorted(path for path in where.glob("*.c") if not path.stem.endswith(PROGRAMS))
    objects = [where / f"{path.stem}{joined(level)}.{compiler}.o" for path in sources]
    for source, target in zip(sources, objects, strict=True):
        if not target.exists():  # nested conditions take minutes
            _run([compiler, *level.split(), "-ffp-contract=off", "-c", str(source), "-o", str(target)])
    return objects


def _driver(where: Path, level: str, compiler: str = "gcc") -> Path:
    program = where / f"driver{joined(level)}.{compiler}"
    objects = _compile(compiler, where, level)
    glue = ["-I", str(where), '-DGLUE="glue.h"', str(HERE / "edge_rows/driver.c")]
    _run([compiler, *level.split(), "-ffp-contract=off", *glue, *map(str, objects), "-o", str(program), "-lm"])
    return program


def _run(command: Sequence[str]) -> str:
    try:
        run = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise Absent(f"{command[0]}: {error.strerror}") from error
    if run.returncode:
        raise Absent(f"{command[0]}: {(run.stderr.strip() or 'no message').splitlines()[0]}")
    return run.stdout


def _sizes(name: str, where: Path) -> list[Row]:
    result = []
    for level in (*LEVELS, NATIVE):
        printed = _run(["size", *map(str, _compile("gcc", where, level))]).splitlines()[1:]
        kb = sum(int(line.split()[3]) for line in printed) / 1e3
        against = f"{name}, gcc {level}, {TREES} trees of {LEAVES} leaves"
        if name == "headway":
            against += ", with names and a self-test of 32 rows"
            row = Row(
                name=f"edge.kb{joined(level)}",
                measured=kb,
                unit="kB",
                target=f"<= {MAX_KB:g}",
                ok=kb <= MAX_KB,
                against=against,
            )
        else:
            row = shown(f"edge.kb{joined(level)}", kb, "kB", against)
        result.append(row)
    return result


def _answers(program: Path, rows: Path, *emulator: str, width: int = WIDTH) -> Floats:
    out = program.with_suffix(".answers")
    _run([*emulator, str(program), str(rows), str(width), str(out)])
    return np.fromfile(out)


def _equal(model: Model, own: Path, short: list[str]) -> list[Row]:
    """Compare the bits of all rows with the kernel, natively and emulated."""
    kernel = portable(model)
    expected = np.concatenate([kernel.predict(model.rows[at : at + 1])[:, 0] for at in range(EQUAL)])
    compiler, *emulator = ARM
    result = []
    for name, compile_by, before in (("native", "gcc", ()), ("aarch64", compiler, tuple(emulator))):
        for level in (*LEVELS, *([NATIVE] if name == "native" else [])):
            try:
                got = _answers(_driver(own, level, compile_by), model.rows_file, *before)
            except Absent as error:
                short.append(f"edge.equal.{name}{joined(level)}: {error}")
                continue
            different = int((got.view(np.int64) != expected.view(np.int64)).sum())
            how = " ".join(before[:1])
            against = f"rows of {EQUAL:,} with other bits than the kernel, {compile_by} {level} {how}".rstrip()
            row = Row(
                name=f"edge.equal.{name}{joined(level)}",
                measured=different,
                unit="rows",
                target="0",
                ok=not different,
                against=against,
            )
            result.append(row)
    return result


def _differences(name: str, model: Model, where: Path) -> list[Row]:
    """Count the rows whose probability differs from LightGBM's own by more than rounding of the sum explains."""
    booster = lgb.Booster(model_file=model.folder / "model.txt")
    result = []
    for kind, compared in zip(("ordinary", "thresholds", "missing"), np.split(model.compared, 3), strict=True):
        file = model.folder / f"{kind}.bin"
        compared.tofile(file)
        gaps = np.abs(_answers(_driver(where, "-O2"), file) - np.asarray(booster.predict(compared, num_threads=1)))
        against = f"{name}: of {COMPARED:,} rows, over {TOLERANCE:g} from LightGBM, the largest {np.nanmax(gaps):.2g}"
        result.append(shown(f"edge.different.{kind}", int((~(gaps <= TOLERANCE)).sum()), "rows", against))
    return result


def _speeds(model: Model, drivers: dict[tuple[str, str], Path]) -> list[Row]:
    """Time one row of each in turns; a ratio is the median over the turns, with its interval by order statistics."""
    singles = [np.ascontiguousarray(model.rows[at : at + 1]) for at in range(min(4 * TURN, EQUAL))]
    best = ENGINE_LEVELS[load_kernels("trees").level()]
    empty = Trees(compile_forest(made(Shape(width=WIDTH, trees=0), seed=1)), {})
    engines = {"call": empty, "portable": portable(model), "best": Trees(model.forest, {"level": best})}
    processes = {
        name: subprocess.Popen(
            [str(program), str(model.rows_file), str(WIDTH)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, program in drivers.items()
    }
    timers: dict[tuple[str, str], Callable[[int, int], float]] = {
        **{
            ("kernel", name): lambda a, b, engine=engine: _python_ns(engine, singles[a:b])
            for name, engine in engines.items()
        },
        **{name: lambda a, b, process=process: _c_ns(process, a, b) for name, process in processes.items()},
    }
    times: dict[tuple[str, str], list[float]] = {name: [] for name in timers}
    for turn in range(TURNS):
        first = turn * TURN % (len(singles) - TURN + 1)
        for name in list(timers) if turn % 2 else list(timers)[::-1]:
            times[name].append(timers[name](first, first + TURN))
    for process in processes.values():
        process.communicate()
    us = {name: median(values) / 1e3 for name, values in times.items()}
    result = []
    for kind, level, flags in (("portable", "portable", "-O2"), ("best", "best", "-O2"), ("native", "best", NATIVE)):
        turns = zip(times["kernel", level], times["kernel", "call"], times["headway", flags], strict=True)
        ratios = [(kernel - call) / own for kernel, call, own in turns]
        named = best if level == "best" else level
        kernel_us, call_us, own_us = us["kernel", level], us["kernel", "call"], us["headway", flags]
        against = (
            f"the kernel at level {named}: {kernel_us:.2f} us from Python, {call_us:.2f} of them the call, C by gcc "
            f"{flags} {own_us:.2f} us; {_interval(ratios)}"
        )
        ratio = median(ratios)
        if kind == "best":  # C for any x86-64, against a kernel that uses AVX-512
            result.append(shown(f"edge.one_row.{kind}", ratio, "x", against))
            continue
        row = Row(
            name=f"edge.one_row.{kind}",
            measured=ratio,
            unit="x",
            target=f">= {MIN_RATIO:g}",
            ok=ratio >= MIN_RATIO,
            against=against,
        )
        result.append(row)
    for peer, flags in drivers:
        if peer != "headway":
            pairs = zip(times[peer, flags], times["headway", flags], strict=True)
            ratios = [theirs / own for theirs, own in pairs]
            against = f"{peer}, gcc {flags}, {us[peer, flags]:.2f} us; {_interval(ratios)}"
            row_name = "edge.one_row.native.peer" if flags == NATIVE else "edge.one_row.peer"
            result.append(shown(row_name, median(ratios), "x", against))
    return result


def _texts() -> list[Row]:
    """Measure a text model, TF-IDF of words and pairs of words with logistic regression, on generated messages."""
    messages, model = _messages()
    own, kernel = folder("edge-texts", of=[]), TextModel(model, {"level": "portable"})
    shutil.rmtree(own, ignore_errors=True)
    write_sources(text_release(model, messages[:32], task="multiclass"), own)
    glue = TEXTS_GLUE.replace("@messages@", ",\n".join(map(string, messages)))
    (own / "glue.h").write_text(glue, encoding="utf-8")
    indices = own / "rows.bin"
    np.arange(len(messages), dtype=np.float64).tofile(indices)
    about = f"texts: TF-IDF of {NGRAMS:,} n-grams of words, {INTENTS} classes"
    result = []
    for level in LEVELS:
        printed = _run(["size", *map(str, _compile("gcc", own, level))]).splitlines()[1]
        result.append(shown(f"edge.text.kb{level}", int(printed.split()[3]) / 1e3, "kB", f"{about}, gcc {level}"))
    driver = _driver(own, "-O2")
    got, expected = _answers(driver, indices, width=1), np.array([kernel.score([text])[0, 0] for text in messages])
    different = int((got.view(np.int64) != expected.view(np.int64)).sum())
    against = f"messages of {len(messages):,} with other bits than the kernel, gcc -O2"
    equal = Row(
        name="edge.text.equal", measured=different, unit="messages", target="0", ok=not different, against=against
    )
    return [*result, equal, *_text_speeds(messages, model, [str(driver), str(indices), "1"])]


def _messages() -> tuple[list[str], bytes]:
    """Return generated messages of which a third are words of their class, and the program of a model of them."""
    random = np.random.default_rng(5)
    words = np.array(["".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(WORDS)])
    intents = random.integers(0, INTENTS, MESSAGES)
    of_class = random.random((MESSAGES, LENGTH)) < 1 / 3
    drawn = random.integers(0, WORDS, (MESSAGES, LENGTH))
    drawn = np.where(of_class, drawn // INTENTS * INTENTS + intents[:, None], drawn) % WORDS
    messages = [" ".join(words[row]) for row in drawn]
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), max_features=NGRAMS)
    fitted = make_pipeline(vectorizer, LogisticRegression(C=10.0)).fit(messages, intents)
    return messages, text_program(fitted, columns=None, width=1, texts=[0])


def _text_speeds(messages: list[str], model: bytes, command: list[str]) -> list[Row]:
    """Time one message in turns, as rows are timed; the call that is subtracted counts a word in an empty message."""
    counted = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["first", "second"], [0, 1])
    call = TextModel(text_program(counted, columns=None, width=1, texts=[0]), {})
    best = ENGINE_LEVELS[load_kernels("text").level()]
    engines = {level: TextModel(model, {"level": level}) for level in dict.fromkeys(("portable", best))}
    times: dict[str, list[float]] = {name: [] for name in ("call", "C", *engines)}
    turn_size = min(TURN, len(messages))
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for turn in range(TURNS):
        first = turn * turn_size % (len(messages) - turn_size + 1)
        texts = messages[first : first + turn_size]
        for name in list(times) if turn % 2 else list(times)[::-1]:
            if name == "C":
                times[name].append(_c_ns(process, first, first + turn_size))
            else:
                engine, read = (call, [""] * turn_size) if name == "call" else (engines[name], texts)
                times[name].append(_text_ns(engine, read))
    process.communicate()
    us = {name: median(values) / 1e3 for name, values in times.items()}
    result = [shown("edge.text.us", us["C"], "us", f"one message of {LENGTH} words, gcc -O2")]
    for level in engines:
        turns = zip(times[level], times["call"], times["C"], strict=True)
        ratios = [(kernel - empty) / own for kernel, empty, own in turns]
        against = (
            f"the kernel at level {level}: {us[level]:.2f} us from Python, {us['call']:.2f} of them the call; "
            f"{_interval(ratios)}"
        )
        result.append(shown(f"edge.text.one_row.{level}", median(ratios), "x", against))
    return result


def _text_ns(engine: TextModel, texts: Sequence[str]) -> float:
    began = time.process_time_ns()
    for text in texts:
        engine.score([text])
    return (time.process_time_ns() - began) / len(texts)


def _interval(ratios: Sequence[float]) -> str:
    """Return the 95 % interval of the median by order statistics."""
    ordered, count = sorted(ratios), len(ratios)
    reach = round(0.98 * count**0.5)
    low, high = max(0, count // 2 - reach), min(count - 1, count // 2 + reach)
    return f"{count} turns of {TURN:,} rows, {ordered[low]:.3g} to {ordered[high]:.3g}"


def _python_ns(engine: Trees, singles: Sequence[Floats]) -> float:
    began = time.process_time_ns()
    for row in singles:
        engine.predict(row)
    return (time.process_time_ns() - began) / len(singles)


def _c_ns(process: subprocess.Popen[str], first: int, last: int) -> float:
    assert process.stdin and process.stdout
    process.stdin.write(f"{first} {last}\n")
    process.stdin.flush()
    return float(process.stdout.readline().split()[0])
