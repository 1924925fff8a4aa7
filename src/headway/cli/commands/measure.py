"""Measure service times of variants on this machine, and networks, for `headway plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from headway import pipeline
from headway.cli.main import AsJson, ProjectFolder, SearchDigest
from headway.core.errors import ConfigError, StoreError
from headway.core.plan import NetworkTimes, ServiceTimes
from headway.core.record import read, write
from headway.evaluation.service_times import measure_network
from headway.registry.project import Project, open_project
from headway.reporting.console import print_result, print_status
from headway.reporting.text.formatting import parse_duration
from headway.reporting.text.plan import describe_times
from headway.storage import atomic

_ROUND_TRIPS = 500
_KINDS: tuple[type[ServiceTimes | NetworkTimes], ...] = (ServiceTimes, NetworkTimes)


def plugin(
    *,
    location: str = "this-machine",
    network: str = "",
    name: str = "",
    time: str = "20s",
    export: str = "",
    load: str = "",
    accept_busy: bool = False,
    project: ProjectFolder = Path("."),
    search: SearchDigest = "",
    json: AsJson = False,
) -> None:
    """Measure how long a worker needs for a request of the winner and of the baseline here, or how long a network does.

    Run it where the model may be served, and name that location as the price file does. With --export it writes a file,
    which --load reads on the machine that plans.

    Example: headway measure --location node --project headway-demo
    Example: headway measure --location device --export device.json --project headway-demo
    Example: headway measure --load device.json --project headway-demo
    Example: headway measure --network http://server:8080/v2/health/live --name wan --project headway-demo

    Parameters
    ----------
    location
        Name of this kind of machine in the price file.
    network
        Address of a page that costs its server nothing: measure round trips to it, instead of service times.
    name
        Name of the network in the price file.
    time
        Time to measure one variant (20s, 2m).
    export
        File to write the measurements to, besides the store of the project.
    load
        File that --export wrote on another machine: save its measurements here.
    accept_busy
        Measure although other processes use the cores, because they always do there; the plan says so.
    """
    opened = open_project(project)
    found: list[ServiceTimes | NetworkTimes]
    if load:
        found = _loaded(opened, Path(load))
    elif network:
        if not name:
            raise ConfigError("the network has no name", where="--name", hint="--name wan, as in the price file")
        round_trips = measure_network(network, name=name, count=_ROUND_TRIPS)
        opened.save(round_trips)
        found = [round_trips]
    else:
        found = []
        for times in pipeline.measure_location(
            opened,
            pipeline.find_search(opened, search),
            pipeline.periods(opened),
            location=location,
            seconds=parse_duration(time),
            accept_busy=accept_busy,
            callback=print_status,
        ):
            found.append(times)
            _export(found, export)  # now, because the next variant may fail
    _export(found, export)
    following = f"next: headway measure --load {export}, where you plan" if export else "next: headway plan prices.toml"
    print_result(found, "\n".join([*map(describe_times, found), following]), json=json)


def _export(found: Sequence[ServiceTimes | NetworkTimes], file: str) -> None:
    if file:
        atomic.write(Path(file), b"\n".join(map(write, found)) + b"\n")


def _loaded(project: Project, file: Path) -> list[ServiceTimes | NetworkTimes]:
    """Save the measurements in a file that `--export` wrote."""
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigError(f"{file.name} cannot be read: {error.strerror}", where=str(file)) from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            kind = _KINDS[msgspec.json.decode(line, type=_Kind).kind == "network_times"]
            found.append(read(kind, line))
        except (StoreError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{file.name} has other content than measurements: {error}",
                where=f"{file}:{number}",
                hint="headway measure --export FILE writes one",
            ) from error
    for record in found:
        project.save(record)
    return found


class _Kind(msgspec.Struct):
    """The kind of a stored record."""

    kind: str
