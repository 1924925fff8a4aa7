"""Tables of the servers of a model: requests and errors, workers and log, objectives with their error budgets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus

from headway.core.release import version_of
from headway.monitoring.servers import ModelTraffic, ServerMetrics, burn_rates, count_traffic, objectives
from headway.reporting.text import formatting
from headway.reporting.text.overview import describe_p99
from headway.reporting.text.tables import Cell, Line, Style, Table, make_table, text_cell
from headway.serving.settings.slo import SloSection

WINDOWS = ("5m", "30m", "1h", "6h")
_OBJECTIVES = {
    "latency": "Requests answered within the limit",
    "availability": "Requests neither refused nor failed",
}


def tabulate_servers(model: str, servers: Sequence[ServerMetrics], *, live: str = "") -> Table:
    """Tabulate what each server counted of a model since it started, and the sum of those that answer.

    `live` is the digest of the live release, with which each is compared.
    """
    answering = [server for server in servers if not server.problem]
    rows = [_server_row(model, server, live) for server in servers]
    if len(answering) > 1:
        rows.append((text_cell("All together", "strong"), *_traffic_cells(count_traffic(model, answering)), (), ()))
    titles = ("Server", "Requests", "Errors", "Latency, p99", "Requests per engine call", "Workers", "Release")
    return make_table(titles, rows, folds=("Server",))


def _server_row(model: str, server: ServerMetrics, live: str) -> tuple[Cell, ...]:
    if server.problem:
        address = (Line(text=server.address), Line(text=f"✗ {server.problem}", style="fail"))
        return (address, *((text_cell("not known", "quiet"),) * 6))
    restarts = server.total("headway_restarts_total")
    workers = (
        Line(text=f"{server.total('headway_workers'):,.0f} ready"),
        *((Line(text=f"{restarts:,.0f} restarts", style="undecided"),) if restarts else ()),
    )
    release = _release_cell(server.models.get(model, ""), live)
    return (text_cell(server.address), *_traffic_cells(count_traffic(model, [server])), workers, release)


def _release_cell(version: str, live: str) -> Cell:
    if not version:
        return text_cell("✗ none", "fail")
    if not live:
        return text_cell(f"version {version}")
    is_live = version == version_of(live)
    return text_cell("✓ the live one" if is_live else "! another one", "pass" if is_live else "undecided")


def _traffic_cells(traffic: ModelTraffic) -> tuple[Cell, ...]:
    batch = traffic.batch_requests
    calls = () if batch is None else (Line(text=f"{traffic.calls:,} calls", style="quiet"),)
    rows_per_call = f"{formatting.format_number(batch)}" if batch is not None else "no calls"
    parts = {"failed": traffic.failed, "refused": traffic.refused, "expired": traffic.expired}
    named = ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)
    style: Style = "fail" if traffic.errors else "plain"
    return (
        (Line(text=f"{traffic.requests:,}"), Line(text=f"{traffic.rows:,} rows", style="quiet")),
        (Line(text=f"{traffic.errors:,}", style=style), *((Line(text=named, style="quiet"),) if named else ())),
        text_cell(describe_p99(traffic)),
        (Line(text=rows_per_call), *calls),
    )


def tabulate_logs(model: str, servers: Sequence[ServerMetrics]) -> Table:
    """Tabulate the prediction log of each server that answers: its state, its lag, what waits, and what was lost."""
    rows = [_log_row(model, server) for server in servers if not server.problem]
    return make_table(
        ("Server", "Log", "Lag", "Waits to be written", "Rows lost", "Free disk"), rows, folds=("Server",)
    )


def _log_row(model: str, server: ServerMetrics) -> tuple[Cell, ...]:
    healthy = server.value("headway_log_healthy")
    if healthy is None:
        return text_cell(server.address), text_cell("not kept", "quiet"), (), (), (), ()
    lost = server.total("headway_log_lost_rows_total", model=model)
    return (
        text_cell(server.address),
        text_cell("✓ written" if healthy else "✗ cannot be written", "pass" if healthy else "fail"),
        text_cell(f"{server.total('headway_log_lag_seconds'):.2f} s"),
        text_cell(_size(server.total("headway_log_queue_bytes"))),
        text_cell(f"{lost:,.0f}", "fail" if lost else "plain"),
        text_cell(_size(server.total("headway_log_disk_free_bytes"))),
    )


def _size(count: float) -> str:
    """Return a number of bytes in words: `512 bytes`, `1.5 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{formatting.format_number(count / size)} {unit}"
    return f"{count:,.0f} bytes"


def tabulate_errors(servers: Sequence[ServerMetrics]) -> Table:
    """Tabulate the error responses of all servers by HTTP status; they may be of any model of a server."""
    counts: dict[int, int] = {}
    for server in servers:
        for code, count in server.by("code", "headway_errors_total").items():
            counts[int(code)] = counts.get(int(code), 0) + int(count)
    known = {status.value: status.phrase for status in HTTPStatus}
    rows = (
        (text_cell(f"{code} {known.get(code, '')}"), text_cell(f"{count:,}"))
        for code, count in sorted(counts.items(), key=lambda pair: -pair[1])
    )
    return make_table(("Status", "Responses"), rows)


def tabulate_objectives(slo: SloSection, servers: Sequence[ServerMetrics]) -> Table:
    """Tabulate the objectives: what they count, what missed them, what is left of the budget, and the burn rates.

    Counts are summed over servers unless these share them; the burn rates are those of the worst server.
    """
    answering = [server for server in servers if not server.problem]
    counted = answering[:1] if any("headway_fleet_slo_burn" in server.samples for server in answering) else answering
    names = list(dict.fromkeys(name for server in counted for name in objectives(server)))
    limits = {"latency": f"99 % within {slo.p99_ms:g} ms", "availability": f"{slo.availability * 100:g} %"}
    rows = []
    for name in names:
        found = [objectives(server)[name] for server in counted if name in objectives(server)]
        requests, bad, allowed = sum(one[0] for one in found), sum(one[1] for one in found), found[0][2]
        burns = [burn_rates(server).get(name, {}) for server in answering]
        worst = [max((burn.get(window, 0.0) for burn in burns), default=0.0) for window in WINDOWS]
        rows.append(
            (
                (
                    Line(text=_OBJECTIVES.get(name, name), style="strong"),
                    Line(text=limits.get(name, ""), style="quiet"),
                ),
                text_cell(f"{requests:,.0f}"),
                text_cell(f"{bad:,.0f}"),
                _budget_cell(requests, bad, allowed),
                *(text_cell(_rate(rate), "fail" if rate >= 1 else "plain") for rate in worst),
            )
        )
    titles = ("Objective", "Requests", "Missed", "Budget left", *(f"Burn, {window}" for window in WINDOWS))
    return make_table(titles, rows, folds=("Objective",))


def _budget_cell(requests: float, bad: float, allowed: float) -> Cell:
    if not requests:
        return text_cell("no requests", "quiet")
    unspent = 1 - bad / (requests * allowed) if allowed else float(not bad)
    text = f"{max(unspent, 0.0):.0%}" if unspent >= 0 else f"overdrawn, {-unspent + 1:.3g} times what is allowed"
    return text_cell(text, "fail" if unspent < 0 else "plain")


def _rate(rate: float) -> str:
    return "all of it" if math.isinf(rate) else f"{formatting.format_number(rate)}"


Bar = tuple[str, int, float, float]


def latency_bars(traffic: ModelTraffic | None, *, width: float) -> list[Bar]:
    """Return the buckets of a latency histogram up to the last with requests: name, requests, share, and bar length."""
    counts = traffic.latency if traffic else ()
    last = max((edge for edge, _ in counts if math.isfinite(edge)), default=0.0)
    names = [f"up to {edge * 1000:g} ms" if math.isfinite(edge) else f"over {last * 1000:g} ms" for edge, _ in counts]
    return _bars(names, counts, width=width)


def batch_bars(traffic: ModelTraffic | None, *, width: float) -> list[Bar]:
    """Return the buckets of a histogram of batch sizes: requests of an engine call, calls, share, and bar length."""
    counts = traffic.batches if traffic else ()
    names, below = [], 0.0
    for edge, _ in counts:
        first = below + 1
        name = f"{first:g}" if edge == first else f"{first:g} to {edge:g}"
        names.append(name if math.isfinite(edge) else f"over {below:g}")
        below = edge
    return _bars(names, counts, width=width)


def _bars(names: Sequence[str], counts: Sequence[tuple[float, int]], *, width: float) -> list[Bar]:
    """Return the buckets from the one before the first that is filled, up to the last that is."""
    filled = [number for number, (_, count) in enumerate(counts) if count]
    if not filled:
        return []
    total, largest = sum(count for _, count in counts), max(count for _, count in counts)
    shown = range(max(filled[0] - 1, 0), filled[-1] + 1)
    return [(names[at], counts[at][1], counts[at][1] / total, width * counts[at][1] / largest) for at in shown]
