"""Write a release as C99: one file with a header, which needs only the string and math functions of the C library."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

import headway
from headway.core.arrays import Floats, Ints
from headway.core.calibrator import Calibrator
from headway.core.contracts import Engine
from headway.core.errors import ConfigError, EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.release import Release, version_of
from headway.core.variant import DECIDES, Signature
from headway.deployment.edge.c_source import comment, expect_size, identifiers, number, string, table, template
from headway.deployment.edge.dense import dense_source
from headway.deployment.edge.forest import forest_source
from headway.deployment.edge.text import MAX_TEXT, text_source
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.trees import TreeEngine
from headway.evaluation.calibration.apply import MIN_PROBABILITY, calibration_function
from headway.registry.bundle import Bundle, self_test_rows

TASKS = ("binary", "multiclass", "regression", "ranking")
_REFUSES = {"missing": 1, "infinite": 2, "beyond float32": 4}
_UNSEEN = ("missing", "other", "refused")
_HINT = "headway optimize makes variants of engines 'trees', 'dense' and 'text'; release one of them"
_MAX_TEXT = f"""\
#ifndef NAME_MAX_TEXT
#define NAME_MAX_TEXT {MAX_TEXT} /* bytes of a text; define another number for all files, as the stack allows */
#endif
"""
_PRELUDE = """\
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__) || (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16)
#error "compile without -ffast-math, and with -msse2 -mfpmath=sse on 32-bit x86: scores would have other bits"
#endif

enum { REFUSES_MISSING = 1, REFUSES_INFINITE = 2, REFUSES_LARGE = 4 };
enum { UNSEEN_IS_MISSING, UNSEEN_IS_OTHER, UNSEEN_IS_REFUSED };
#define LARGE 0x1.ffffffp+127 /* a float32 of this magnitude is infinite */
"""
_TABLE = """\
  const double p = s[0];
  int at = 0;
  if (p != p) return;
  if (p < knots[0]) { s[0] = knot_values[0]; return; }
  while (at + 1 < KNOTS && knots[at + 1] <= p) at++;
  if (at + 1 == KNOTS || knots[at] == p) s[0] = knot_values[at];
  else s[0] = (knot_values[at + 1] - knot_values[at]) / (knots[at + 1] - knots[at]) * (p - knots[at]) + knot_values[at];
"""
_STEPS = """\
  const double p = s[0];
  int i, at = 0;
  if (p != p) return;
  for (i = 0; i < KNOTS; i++) at += (knots[i] < p) + (knots[i] <= p);
  s[0] = knot_values[at];
"""
_BINARY = "  return s[0] >= THRESHOLD;\n"
_LARGEST = """\
  int i, best = 0;
  for (i = 1; i < NAME_OUTPUTS; i++) if (s[i] > s[best]) best = i;
  return best;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCode:
    """The C of a model, whose `run_model` computes the scores of a row, and the engine with the same scores."""

    code: str
    reference: Engine


def package_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of the package of a verified release, by name.

    Raises
    ------
    ConfigError
        If the release has what the package cannot express.
    EngineError
        If the reference engine does not answer the self-test of the release as it is recorded.
    """
    release = bundle.release
    _expect_exportable(release)
    model = _model_source(bundle)
    name = identifiers([release.name])[0].lower()
    name = name if name[0].isalpha() else f"model_{name}"
    source = "".join(
        [
            f'{_heading(bundle)}#include "{name}.h"\n\n',
            _PRELUDE,
            renamed(model.code.replace("MODEL_OUTPUTS", "NAME_OUTPUTS"), name),
            _names(release),
            _calibration(release.calibrator),
            renamed(_decision(release) + _self_test(release, model.reference), name).replace(
                "@test_texts@", _test_texts(release)
            ),
            renamed(_with_texts("package.c", release), name),
        ]
    )
    before, mark, after = renamed(_with_texts("package.h", release), name).partition("\nenum {")
    return {
        f"{name}.c": source.encode(),
        f"{name}.h": f"{_heading(bundle)}{before}\n{_constants(bundle, name.upper())}{mark}{after}".encode(),
        f"{name}_cli.c": (_heading(bundle) + renamed(_with_texts("cli.c", release), name)).encode(),
        f"{name}_http.c": (_heading(bundle) + _http(bundle, name)).encode(),
        "verify.c": template("verify.c").encode(),
        "Makefile": template("package.mk").replace("NAME_FILE", name).encode(),
    }


def renamed(text: str, name: str) -> str:
    """Put the name of the release in front of what other files see; the text holds no name of a user."""
    text = re.sub(r"(\b|(?<=-D))NAME_", f"{name.upper()}_", text.replace("NAME_FILE", name))
    return re.sub(r"\bname_(?=[a-z_]+\()", f"{name}_", text)


def _with_texts(file: str, release: Release) -> str:
    """Return the code of a file, whose functions get the texts of a row if the model reads some."""
    texts = bool(release.variant.signature.texts)
    declared, passed = (", const char *const *texts", ", texts") if texts else ("", "")
    return template(file).replace("@texts@", declared).replace("@passed@", passed)


def _expect_exportable(release: Release) -> None:
    """Raise ConfigError, which names what the package cannot express."""
    signature = release.variant.signature
    if release.variant.task not in TASKS:
        raise _refused(f"a {release.variant.task} model", "release a model of another task", release)
    if signature.texts and release.variant.engine != "text":
        raise _refused(
            f"the text column '{signature.texts[0]}'",
            "headway optimize makes variants of engine 'text'; release one",
            release,
        )
    if release.answers is not None:
        raise _refused(
            "a release that hands some rows on ([answer])", "headway optimize without [answer], then release", release
        )


def _refused(what: str, hint: str, release: Release) -> ConfigError:
    return ConfigError(
        f"an edge package cannot hold {what}", where=f"{release.name}: {release.variant.name}", hint=hint
    )


def _model_source(bundle: Bundle) -> ModelCode:
    release, variant = bundle.release, bundle.release.variant
    engine = load_engine(variant.engine)
    content, reference = bundle.model, variant.engine
    try:
        if reference == "dense":
            if variant.settings.get("precision", "f32") != "f32":
                raise NotApplicable("its products are in bfloat16, which edge packages do not compute")
            code = dense_source(content)
        elif reference == "text":
            code = text_source(content, [at for at, field in enumerate(variant.signature.inputs) if field.is_text])
        elif reference == "trees" or isinstance(engine, TreeEngine):
            if isinstance(engine, TreeEngine):
                content, reference = compile_forest(engine.forest(content)), "trees"
            code = forest_source(content)
        else:
            raise _refused(f"a model of engine '{variant.engine}'", _HINT, release)
        expect_size(len(code))
    except NotApplicable as error:
        raise _refused(f"this model: {error.what}", error.hint or _HINT, release) from error
    return ModelCode(code=code, reference=load_engine(reference)(content, {"level": "portable"}))


def _http(bundle: Bundle, name: str) -> str:
    """Return the HTTP program, with the JSON that it writes around the scores."""
    release, signature = bundle.release, bundle.release.variant.signature
    output: dict[str, object] = {"name": signature.output, "datatype": "FP64"}
    output["shape"] = [1, len(release.self_test.answers[0])]
    if release.variant.task == "multiclass" and signature.classes:
        output["parameters"] = {"classes": signature.classes}
    model = {"model_name": release.name, "model_version": version_of(bundle.digest)}
    text = renamed(_with_texts("http.c", release), name)
    for mark, value in (
        ("@path@", f"/v2/models/{quote(release.name, safe='')}"),
        ("@ready@", json.dumps({"name": release.name, "ready": True})),
        ("@response_model@", json.dumps(model)[:-1]),
        ("@response_output@", ',"outputs":[' + json.dumps(output)[:-1] + ',"data":['),
    ):
        text = text.replace(mark, string(value))
    return text


def _heading(bundle: Bundle) -> str:
    release = bundle.release
    lines = (
        f"{comment(release.name)}: generated by headway {headway.__version__}; do not edit.",
        f"Release {bundle.digest}, signed by {comment(bundle.key)}",
        f"Model: {comment(release.variant.name)}; task: {release.variant.task}",
        "C99; needs string.h and math.h, allocates nothing, and has no variables outside functions.",
        "Compile with -ffp-contract=off, so that scores have the bits of headway's kernel (its level 'portable').",
    )
    return "/* " + "\n   ".join(lines) + " */\n"


def _constants(bundle: Bundle, prefix: str) -> str:
    release = bundle.release
    signature = release.variant.signature
    inputs = identifiers([field.name.upper() for field in signature.inputs])
    views = {feature: view.reference for view in release.views for feature in view.feature_names}
    lines = []
    for index, (field, name) in enumerate(zip(signature.inputs, inputs, strict=True)):
        shown = [comment(field.name)]
        if field.is_text:
            shown.append(f"text {signature.texts.index(field.name)}, which a row has apart")
        if field.categories:
            shown.append(f"category of {len(field.categories):,}, unseen: {field.unseen}")
        if field.refuses:
            shown.append("refused if " + " or ".join(field.refuses))
        if field.name in views:
            shown.append(f"computed by feature view {comment(views[field.name])}")
        lines.append(f"  {prefix}_INPUT_{name} = {index}, /* {'; '.join(shown)} */")
    classes = _class_names(release)
    outputs = len(release.self_test.answers[0])
    return (
        f'#define {prefix}_RELEASE "{bundle.digest}"\n'
        f"#define {prefix}_INPUTS {len(inputs)}\n"
        f"#define {prefix}_TEXTS {len(signature.texts)}\n"
        + (_MAX_TEXT.replace("NAME_", f"{prefix}_") if signature.texts else "")
        + f"#define {prefix}_OUTPUTS {outputs}\n"
        f"#define {prefix}_CLASSES {len(classes)}\n"
        "\n/* Inputs: the index of each in a row. A missing value is NaN, a category is its number. */\nenum {\n"
        + "\n".join(lines)
        + "\n};\n"
        + (f"\n/* Classes: {comment(', '.join(classes))} */\n" if classes else "")
    )


def _class_names(release: Release) -> tuple[str, ...]:
    return release.class_names if release.variant.task in DECIDES else ()


def _strings(name: str, texts: Sequence[str]) -> str:
    items = ",\n".join(string(text) for text in texts) or '""'
    return f"static const char *const {name}[] = {{\n{items}\n}};\n"


def _names(release: Release) -> str:
    signature: Signature = release.variant.signature
    starts = np.cumsum([0, *(len(field.categories) for field in signature.inputs)])
    refuses = [sum(_REFUSES[kind] for kind in field.refuses if not field.is_text) for field in signature.inputs]
    return "".join(
        [
            "\n",
            _strings("input_names", signature.names),
            _strings("class_names", _class_names(release)),
            _strings("category_names", [text for field in signature.inputs for text in field.categories]),
            table("int32_t", "category_start", starts),
            *([table("int8_t", "input_text", _text_numbers(signature))] if signature.texts else []),
            table("uint8_t", "input_unseen", [_UNSEEN.index(field.unseen) for field in signature.inputs]),
            f"#define HAS_REFUSALS {int(any(refuses))}\n",
            *([table("uint8_t", "input_refuses", refuses)] if any(refuses) else []),
        ]
    )


def _text_numbers(signature: Signature) -> list[int]:
    return [signature.texts.index(field.name) if field.is_text else -1 for field in signature.inputs]


def _test_texts(release: Release) -> str:
    """Return the texts of the self-test, those of a row in turn, or nothing if the model reads none."""
    names, test = release.variant.signature.texts, release.self_test
    at = [release.variant.signature.names.index(name) for name in names]
    items = [
        "NULL" if (index := row[column]) is None else string(test.texts[name][int(index)] or "")
        for row in test.rows
        for name, column in zip(names, at, strict=True)
    ]
    return "static const char *const test_texts[] = {\n" + ",\n".join(items) + "\n};\n" if names else ""


def _calibration(calibrator: Calibrator) -> str:
    tables = ""
    if not calibrator:
        body = "  (void)s;\n"
    elif calibrator.knots:
        tables = f"#define KNOTS {len(calibrator.knots)}\n" + "".join(
            table("double", name, values)
            for name, values in (("knots", calibrator.knots), ("knot_values", calibrator.values))
        )
        body = _TABLE if len(calibrator.knots) == len(calibrator.values) else _STEPS
    elif calibrator.up == calibrator.down == 1:
        odds = number(float(np.exp(calibrator.shift)))
        body = f"  s[0] = s[0] * {odds} / (1 - s[0] + s[0] * {odds});\n"
    else:
        low, high = number(MIN_PROBABILITY), number(1 - MIN_PROBABILITY)
        up, down, shift = number(calibrator.up), number(calibrator.down), number(calibrator.shift)
        body = (
            f"  double p = s[0] < {low} ? {low} : s[0] > {high} ? {high} : s[0];\n"
            f"  p = {up} * log(p) - {down} * log1p(-p) + {shift};\n"
            "  p = p < -700 ? -700 : p > 700 ? 700 : p;\n"
            "  s[0] = 1 / (1 + exp(-p));\n"
        )
    return f"\n{tables}static void calibrate(double *s) {{\n{body}}}\n"


def _decision(release: Release) -> str:
    task = release.variant.task
    body = {"binary": _BINARY, "multiclass": _LARGEST}.get(task, "  (void)s;\n  return 0;\n")
    return f"\n#define THRESHOLD {number(float(release.threshold))}\nstatic int decide(const double *s) {{\n{body}}}\n"


def _self_test(release: Release, reference: Engine) -> str:
    """Return the rows of the self-test with the scores of the reference, one row at a time, and the decisions.

    Raises EngineError if the reference differs from the recorded answers by more than the release allows.
    """
    if not release.self_test.rows:
        raise EngineError("the release has no self-test", where=release.name, hint="release the model again")
    rows = self_test_rows(release.self_test, release.variant.signature)
    recorded = np.array(release.self_test.answers, np.float64)
    scores = np.concatenate([reference.predict(rows[index : index + 1]) for index in range(len(rows))])
    if scores.shape != recorded.shape or not np.allclose(
        scores, recorded, rtol=0, atol=release.self_test.tolerance, equal_nan=True
    ):
        raise EngineError(
            "the kernel's answers to the self-test are not those that the release recorded",
            where=release.name,
            hint="release the model again from this machine",
        )
    return "".join(
        [
            f"\n#ifndef NAME_WITHOUT_SELF_TEST\n#define TEST_ROWS {len(rows)}\n",
            "@test_texts@",
            table("double", "test_rows", np.array(release.self_test.rows, np.float64)),
            table("double", "test_scores", scores),
            table("uint16_t", "test_decisions", decisions(release, scores)),
            "#endif\n",
        ]
    )


def decisions(release: Release, scores: Floats) -> Ints:
    """Return the decision of each row of uncalibrated scores (n, k) as the package makes it: int64 (n,)."""
    apply: Callable[[Floats], Floats] = calibration_function(release.calibrator)
    if release.variant.task == "binary":
        return (apply(scores)[:, 0] >= release.threshold).astype(np.int64)
    if release.variant.task == "multiclass":
        return np.asarray(np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1), np.int64)
    return np.zeros(len(scores), np.int64)
