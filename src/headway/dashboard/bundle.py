"""The scripts of the chart library for browsers: from the installed package, made once by the process for heavy work.

Docs: docs/decisions/0096-charts-that-a-browser-draws.md
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from headway.core.late import LateModule
from headway.dashboard.resources import Dashboard

if TYPE_CHECKING:
    from headway.dashboard.work import charts as charts_work
else:  # only the process for heavy work imports them
    charts_work = LateModule("headway.dashboard.work.charts")

PACKAGE = "vl-convert-python"
SNIPPET = "window.vegaEmbed = vegaEmbed;"
"""What the bundle offers to the scripts of a page; it has what this needs, and no more."""
PATH = "/charts/{name}"


@cache
def bundle_name() -> str:
    """Return the name of the bundle, with a digest of what it is made from; empty without the package."""
    try:
        made_from = f"{PACKAGE} {version(PACKAGE)} {SNIPPET}"
    except PackageNotFoundError:
        return ""
    return f"vega-{hashlib.sha256(made_from.encode()).hexdigest()[:16]}.js"


async def serve_bundle(dashboard: Dashboard, request: Request) -> Response:
    """Return the bundle, which a browser may keep for ever: another one has another name."""
    name = bundle_name()
    if not name or request.path_params["name"] != name:
        return PlainTextResponse("no such script; load the page again\n", 404)
    packed: bytes = await run_in_threadpool(
        dashboard.cache.get, ("bundle", name), lambda: dashboard.workers.run(charts_work.bundle, SNIPPET)
    )
    headers = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(gzip.decompress(packed), media_type="text/javascript", headers=headers)
    return Response(packed, media_type="text/javascript", headers={**headers, "Content-Encoding": "gzip"})
