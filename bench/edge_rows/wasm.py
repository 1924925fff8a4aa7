"""WebAssembly: one row in headless Chromium, and whether all rows have the bits of the kernel.

The model and the rows are those of part `export`. Blocks of calls are short, so that most of them are not interrupted
on a busy machine.
"""

from __future__ import annotations

import gzip
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

import numpy as np
from tests.browser import open_browser
from tests.deployment.edge.packages import made_release
from tests.deployment.edge.wasm_pages import opened, predicted

from edge_rows import export
from harness import Result, Row, shown
from headway.core.arrays import Floats
from headway.deployment.edge.wasm import find_compilers, wasm_files
from headway.engines.trees import Trees

BLOCKS, CALLS = 2_000, 50
TINY = {"BLOCKS": 3, "CALLS": 5}
# Milliseconds of each block of calls, each with another row.
_TIMED = """async ([module, blocks, calls]) => {
  const model = await (await import(module)).load()
  const all = new Float64Array(await (await fetch("rows.bin")).arrayBuffer()), width = model.inputs.length
  const rows = Array.from({ length: 256 }, (_, i) => all.slice(i * width, (i + 1) * width))
  const taken = []
  let sum = 0
  for (let block = -200; block < blocks; block++) {
    const start = performance.now()
    for (let i = 0; i < calls; i++) sum += model.predict(rows[i & 255]).decisions[0]
    if (block >= 0) taken.push(performance.now() - start)
  }
  return [taken, sum, crossOriginIsolated] }"""


def rows() -> Result:
    """Measure the model in a browser next to the kernel that is called from Python."""
    model = export.fitted_model()
    kernel = export.portable(model)
    expected = np.concatenate([kernel.predict(row) for row in model.rows[:, None]])
    files = wasm_files(made_release(model.forest, model.rows[:32], expected[:32]))
    size, packed = (len(each) for each in (files["flights.wasm"], gzip.compress(files["flights.wasm"])))
    with tempfile.TemporaryDirectory() as folder, open_browser() as browser:
        for name, written in files.items():
            (Path(folder) / name).write_bytes(written)
        scores, _ = predicted(browser, Path(folder), "flights", model.rows)
        with opened(browser, Path(folder)) as page:
            module = page.url.replace("page.html", "flights.js")
            taken, _, is_isolated = page.evaluate(_TIMED, [module, BLOCKS, CALLS])
        version = browser.version
    assert is_isolated, "the clock of the page has steps of 100 us"
    different = int((scores.view(np.int64) != expected.view(np.int64)).sum())
    built = f"{export.TREES} trees of {export.LEAVES} leaves, {_compiler()}"
    low, middle, high = np.percentile(np.array(taken) * 1e3 / CALLS, [5, 50, 95])
    timed = f"headless Chromium {version}, {built}; 5th to 95th percentile of {BLOCKS:,} blocks of {CALLS} calls: "
    timed += (
        f"{low:.2f} to {high:.2f}; the kernel called from Python: {_kernel_us(Trees(model.forest, {}), model.rows):.2f}"
    )
    equal = f"rows of {len(expected):,} with other bits than the kernel, headless Chromium {version}, {built}"
    weight = f"{built}, with a self-test of 32 rows; {packed / 1e3:.0f} kB by gzip"
    return [
        shown("wasm.one_row_us", float(middle), "us", timed),
        Row(name="wasm.equal", measured=different, unit="rows", target="0", ok=not different, against=equal),
        shown("wasm.kb", size / 1e3, "kB", weight),
    ], []


def _kernel_us(kernel: Trees, table: Floats) -> float:
    """Return the median time of a row, called from Python with the best level of this machine."""
    taken = []
    calls = [table[index : index + 1] for index in range(min(256, len(table)))]
    for block in range(BLOCKS):
        chosen = [calls[(block + call) % len(calls)] for call in range(CALLS)]
        start = time.perf_counter()
        for row in chosen:
            kernel.predict(row)
        taken.append((time.perf_counter() - start) / CALLS)
    return float(np.median(taken) * 1e6)


def _compiler() -> str:
    return " ".join(Path(word).name for word in find_compilers()[0])
