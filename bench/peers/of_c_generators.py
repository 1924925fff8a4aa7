"""Write a LightGBM classifier as C by a generator: `of_c_generators.py NAME MODEL_FOLDER OUT_FOLDER`.

The folder gets the generator's files, and `glue.h` with `prepare` and `score_row`, the probability of a row of float64.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

READY = "static int prepare(void) { return 0; }\n"


def m2cgen(model: Path, out: Path) -> str:
    """Nested conditions; its `score` returns both probabilities."""
    import joblib  # noqa: PLC0415
    import m2cgen as library  # noqa: PLC0415 - each generator has an environment of its own

    sys.setrecursionlimit(10_000)
    (out / "model.c").write_text(library.export_to_c(joblib.load(model / "model.joblib")))
    return f"""void score(double *input, double *output);
{READY}static double score_row(const double *row) {{ double both[2]; score((double *)row, both); return both[1]; }}
"""


def tl2cgen(model: Path, out: Path) -> str:
    """Nested conditions, with values quantized; a missing value is marked in the entry."""
    import tl2cgen as library  # noqa: PLC0415
    import treelite  # noqa: PLC0415

    forest = treelite.frontend.load_lightgbm_model(str(model / "model.txt"))
    library.generate_c_code(forest, str(out), params={"quantize": 1})
    return f"""#include "header.h"
{READY}static double score_row(const double *row) {{
  union Entry entries[64];
  double result = 0;
  for (int i = 0; i < get_num_feature(); i++) {{
    if (row[i] != row[i]) entries[i].missing = -1;
    else entries[i].fvalue = row[i];
  }}
  predict(entries, 0, &result);
  return result;
}}
"""


def emlearn(model: Path, out: Path) -> str:
    """Integer trees of scikit-learn."""
    import emlearn as library  # noqa: PLC0415
    import joblib  # noqa: PLC0415

    library.convert(joblib.load(model / "model.joblib")).save(file=str(out / "model.h"), name="model")
    raise SystemExit("it converted the model: write the code that calls it")


def timber(model: Path, out: Path) -> str:
    """Tables of float32 and a loop, without the passes that change scores: they drop leaves."""
    command = [str(Path(sys.executable).parent / "timber"), "compile", "--no-optimize", "--format", "lightgbm"]
    subprocess.run([*command, "--model", str(model / "model.txt"), "--out", str(out)], check=True, capture_output=True)
    return """#include "model.h"
static TimberCtx *context;
static int prepare(void) { return timber_init(&context); }
static double score_row(const double *row) {
  float inputs[TIMBER_N_FEATURES], score;
  for (int i = 0; i < TIMBER_N_FEATURES; i++) inputs[i] = (float)row[i];
  timber_infer_single(inputs, &score, context);
  return score;
}
"""


generator, model_folder, out_folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
(out_folder / "glue.h").write_text(globals()[generator](model_folder, out_folder))
