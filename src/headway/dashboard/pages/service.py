"""The servers of a model: requests, errors, latency, batches, log, workers, objectives and error budgets."""

from __future__ import annotations

from headway.dashboard.page import Call, Page, Rendered, Reply, View
from headway.reporting.text import service
from headway.reporting.text.overview import live_parts
from headway.serving.settings.slo import SloSection

BAR = 240.0


def _service(call: Call) -> Reply:
    project, now = call.project, call.dashboard.live.now()
    found = now.models[project.name]
    live = found.state.live
    values = {
        "now": now,
        "parts": live_parts(found.state, found.traffic),
        "answering": any(not server.problem for server in found.servers),
        "known": bool(found.servers),
        "servers": service.tabulate_servers(project.name, found.servers, live=live.release if live else ""),
        "logs": service.tabulate_logs(project.name, found.servers),
        "errors": service.tabulate_errors(found.servers),
        "objectives": service.tabulate_objectives(project.config[SloSection], found.servers),
        "span": found.traffic.seconds if found.traffic else None,
        "bars": service.latency_bars(found.traffic, width=BAR),
        "batches": service.batch_bars(found.traffic, width=BAR),
        "traffic": found.traffic,
        "bar": BAR,
    }
    return Rendered(template="service.html", values=values)


plugin = Page(views=[View("/models/{model}/service", _service)], tab="Service", order=70)
