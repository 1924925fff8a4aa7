"""Plan where a model should run: the cheapest location that keeps the objectives."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Group

from headway import pipeline
from headway.cli.exit_codes import FAIL, PASS, UNDECIDED
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.core.errors import ConfigError
from headway.core.plan import NOT_JUDGED, Demand, DeploymentPlan
from headway.core.plugins import load_sibling
from headway.deployment.plan.plan import cheapest_split, split_config
from headway.deployment.plan.prices import read_demand, read_prices
from headway.evaluation.settings.answer import AnswerSection
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result
from headway.reporting.text.plan import plan_lines, tabulate_plan
from headway.reporting.text.terminal import TerminalTable
from headway.storage import atomic


def plugin(
    prices: str = "prices.toml",
    *,
    per_s: float = 0.0,
    demand: str = "",
    sites: int = 1,
    picture: str = "",
    write_config: str = "",
    quick: bool = False,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    json: AsJson = False,
) -> int:
    """Find the cheapest variant, location and number of replicas that keep [slo] and the policy, from measured times.

    `headway measure` measures a location or a network; what was not measured is not chosen. Response times are
    simulated. Exit 0 if an option keeps every rule, 1 if none does, 3 if none could be judged.

    Example: headway plan prices.toml --per-s 50 --project headway-demo
    Example: headway plan prices.toml --demand demand.toml --project headway-demo
    Example: headway plan prices.toml --project headway-demo

    Parameters
    ----------
    prices
        TOML file of prices: instances, hardware, traffic, energy, and networks that are assumed.
    per_s
        Mean requests per second, which come at random; default: as in --demand, or in the prediction log.
    demand
        TOML file of the demand: per_s, hours (24 factors), burst_share, request_bytes, response_bytes, sites.
    sites
        Number of sites, each with a device of its own where the price file has `per_site`; not with --demand.
    picture
        SVG file for the chart: cost of a month against p99.
    write_config
        TOML file for the settings of the cheapest feasible split: [answer] and [answer.remote] of the device.
    quick
        Do not search for the changes that would make another location the best.
    """
    opened = open_project(project)
    planned = _demand(opened, per_s=per_s, file=demand, sites=sites)
    found = pipeline.plan(
        opened,
        pipeline.find_search(opened, search),
        read_prices(Path(prices)),
        planned,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        with_changes=not quick,
    )
    if picture:
        _draw(found, Path(picture))
    if write_config:
        _write_config(found, Path(write_config), limit=opened.config[AnswerSection].limit)
    print_result(found, Group(TerminalTable(tabulate_plan(found)), *plan_lines(found)), json=json)
    return _exit_code(found)


def _draw(found: DeploymentPlan, file: Path) -> None:
    """Write the chart of a plan; it needs the extra lab."""
    drawn = load_sibling("headway.reporting.charts.pareto", "plan", reads="a chart").draw_plan(found)
    if drawn is None:
        raise ConfigError("no option has a p99 to draw", where=str(file), hint="headway measure")
    atomic.write(file, drawn.wide.encode())


def _write_config(found: DeploymentPlan, file: Path, *, limit: float) -> None:
    """Write the settings of the device of a split: docs/how-to/split.md."""
    split = cheapest_split(found)
    if split is None:
        failed = next((option for option in found.options if option.second_location), None)
        raise ConfigError(
            "no split keeps the rules" + (f": {failed.name}: {failed.message}" if failed else ""),
            where="--write-config",
            hint="a split needs a device (per_site = true), and a release with a certificate: [answer] limit",
        )
    atomic.write(file, split_config(found, split, limit=limit).encode())


def _demand(project: Project, *, per_s: float, file: str, sites: int) -> Demand:
    if file and (per_s or sites != 1):
        option = "--per-s" if per_s else "--sites"
        raise ConfigError("the demand is given twice", where=f"--demand, {option}", hint="leave one of them out")
    if not 0 <= per_s < math.inf or sites < 1:
        raise ConfigError("a rate is above 0, and sites are at least 1", where="--per-s, --sites", hint="--per-s 50")
    if file:
        return read_demand(Path(file))
    return Demand(per_s=per_s, sites=sites) if per_s else pipeline.logged_demand(project, sites=sites)


def _exit_code(found: DeploymentPlan) -> int:
    if found.best:
        return PASS
    return UNDECIDED if any(option.problem in NOT_JUDGED for option in found.options) else FAIL
