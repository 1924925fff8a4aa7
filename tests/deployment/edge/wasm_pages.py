"""A WebAssembly package in a page of a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

from headway.core.arrays import Floats, Ints

_PREDICT = """async ([module, width, outputs]) => {
  const { load } = await import(module)
  const rows = new Float64Array(await (await fetch("rows.bin")).arrayBuffer())
  const model = await load()
  if (model.inputs.length !== width || model.outputs !== outputs) throw new Error("a wrong shape")
  const { scores, decisions } = model.predict(rows)
  return [Array.from(scores), Array.from(decisions)] }"""


class _Handler(SimpleHTTPRequestHandler):
    """Prints nothing, and isolates its pages, whose clocks are exact then."""

    def end_headers(self) -> None:
        """Add the headers of isolation."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder; yield its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def opened(browser: Browser, folder: Path) -> Iterator[Page]:
    """Open an empty page of a folder, whose modules it can import."""
    (folder / "page.html").write_text("<!doctype html><title>A model</title>")
    with served(folder) as address:
        page = browser.new_page()
        page.goto(f"{address}/page.html")
        yield page
        page.close()


def predicted(browser: Browser, folder: Path, name: str, rows: Floats, *, outputs: int = 1) -> tuple[Floats, Ints]:
    """Scores and decisions of rows, computed by the package in a page."""
    (folder / "rows.bin").write_bytes(np.ascontiguousarray(rows, np.float64).tobytes())
    with opened(browser, folder) as page:
        module = page.url.replace("page.html", f"{name}.js")
        scores, decisions = page.evaluate(_PREDICT, [module, rows.shape[1], outputs])
    return np.array(scores, np.float64).reshape(-1, outputs), np.array(decisions, np.int64)
