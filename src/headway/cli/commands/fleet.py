"""Publish releases to devices, which poll a folder over HTTP; and poll it on a device."""

from __future__ import annotations

import importlib
import threading
from contextlib import suppress
from datetime import datetime
from getpass import getuser
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Group, RenderableType

from headway.cli.main import FAIL, PASS, UNDECIDED, AsJson, ProjectFolder
from headway.core import config
from headway.core.config import parse_age
from headway.core.errors import ConfigError
from headway.core.fleet import FleetPointer
from headway.deployment.fleet import agent
from headway.deployment.fleet.publish import follow_fleet, publish_fleet, published_fleet, renew_timestamp
from headway.deployment.fleet.reporting import device_reporter
from headway.registry.device_logs import load_statuses
from headway.registry.fleet import DeviceRegistry
from headway.registry.project import open_project
from headway.registry.settings.fleet import FleetSection
from headway.reporting.console import print_result, print_status
from headway.reporting.text.fleet import describe_disagreement, tabulate_devices
from headway.reporting.text.formatting import short_digest
from headway.reporting.text.terminal import TerminalTable


def plugin(
    action: Literal["publish", "renew", "poll", "status"] = "status",
    where: str = "",
    *,
    share: float | None = None,
    why: str = "",
    new_key: bool = False,
    follow: bool = False,
    device: str = "",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Publish releases to a fleet of devices, or poll as a device. Exit 1 if a poll is refused, 3 if none answers.

    Example: headway fleet publish /srv/fleet --share 0.1 --project headway-demo
    Example: headway fleet renew /srv/fleet --project headway-demo
    Example: headway fleet poll https://fleet.example --device pump-17 --project headway-demo
    Example: headway fleet status --project headway-demo

    Parameters
    ----------
    action
        publish (write the folder for the release at [fleet] pointer; needs the publisher's key), renew (its timestamp
        alone, with the timestamp's key), poll (on a device), status (what was published last, what devices report,
        and how often they answer otherwise than their releases do here).
    where
        The folder to publish or renew, or the URL to poll; default of poll: [fleet] url.
    share
        Share of devices that load the release, by the hash of their names, the same devices as it grows; default: all.
    why
        Reason, for the history.
    new_key
        Make a new key of timestamps, because others may have the former one.
    follow
        To publish: go on, renew the timestamp, and publish each update of the pointer within a second; a new release
        goes to the share, a rollback to all devices. To poll: go on.
    device
        Name of the device, in place of [fleet] device.
    """
    if action == "status":
        return _status(project, json=json)
    if action == "poll":
        return _poll(project, where, device, follow=follow, json=json)
    if not where:
        raise ConfigError(f"{action} needs a folder", hint=f"headway fleet {action} FOLDER")
    opened, out = open_project(project), Path(where)
    valid = parse_age(opened.config[FleetSection].valid, where="[fleet] valid")
    if action == "renew":
        timestamp = renew_timestamp(opened, out, valid=valid)
        print_result(timestamp, f"{out}: the timestamp is valid until {timestamp.expires}", json=json)
        return PASS
    published = publish_fleet(
        opened,
        out,
        who=getuser(),
        why=why,
        pointer=opened.config[FleetSection].pointer,
        share=share,
        valid=valid,
        key_valid=parse_age(opened.config[FleetSection].key_valid, where="[fleet] key_valid"),
        new_key=new_key,
    )
    found = {"pointer": published.pointer, "timestamp": published.timestamp, "is_new": published.is_new}
    text = f"{out}: {_described(published.pointer)}\nits timestamp is valid until {published.timestamp.expires}"
    print_result(
        found, f"{text}\nnext: serve the folder over HTTP, then on a device: headway fleet poll URL", json=json
    )
    if follow:
        with suppress(KeyboardInterrupt):
            follow_fleet(opened, out, who=getuser(), callback=print_status, share=share)
    return PASS


def _status(project: Path, *, json: bool) -> int:
    """Print the pointers that were published last, and the devices that reported."""
    opened = open_project(project)
    pointers, statuses = published_fleet(opened), load_statuses(opened.config.state, opened.name)
    lines = [f"{pointer.at[:19]}  {_described(pointer)}, by {pointer.who}: {pointer.why}" for pointer in pointers]
    text: RenderableType = "\n".join(lines) or "no fleet was published\n  try: headway fleet publish FOLDER"
    found: dict[str, Any] = {"pointers": pointers, "devices": statuses}
    if statuses:
        found["comparison"] = comparison = importlib.import_module("headway.monitoring.devices").compare_devices(opened)
        poll_s, newest = opened.config[FleetSection].poll_s, pointers[0] if pointers else None
        table = tabulate_devices(statuses, newest, comparison, poll_s=poll_s, at=datetime.now().astimezone())
        text = Group(text, TerminalTable(table), describe_disagreement(comparison))
    print_result(found, text, json=json)
    return PASS if pointers else UNDECIDED


def _poll(project: Path, url: str, device: str, *, follow: bool, json: bool) -> int:
    """Poll once, or until Ctrl-C."""
    flags = {name: value for name, value in (("fleet.url", url), ("fleet.device", device)) if value}
    settings = config.load(project, flags=flags)
    if not settings[FleetSection].url:
        raise ConfigError("no fleet is named", hint="headway fleet poll URL, or url in [fleet]")
    if follow:
        with suppress(KeyboardInterrupt):
            agent.run_agent(settings, threading.Event())
        return PASS
    registry = DeviceRegistry.of_device(settings)
    pointer = agent.device_pointer(settings, registry)
    reporter = device_reporter(settings, pointer.device)
    result = pointer.poll()
    shipped = agent.report_poll(reporter, pointer, result)
    registry.state.close()
    found: dict[str, Any] = {**result._asdict(), "device": pointer.device, "at": datetime.now().astimezone()}
    found |= {"shipped": shipped} if reporter else {}
    served = short_digest(result.release) if result.release else "no release"
    text = f"{pointer.device} serves {served}{' now' if result.changed else ''}"
    if result.reason:
        text = f"refused ({result.reason}): {result.message}\n{text}, as before"
    if reporter:
        text = f"{text}\n{shipped:,} segments of its log were shipped to {reporter.url}"
    print_result(msgspec.to_builtins(found), text, json=json)
    if result.reason == "unreachable":
        return UNDECIDED
    return FAIL if result.reason else PASS


def _described(pointer: FleetPointer) -> str:
    text = (
        f"pointer {pointer.number} of {pointer.name}@{pointer.pointer}: release {short_digest(pointer.release.digest)}"
    )
    if pointer.staged is None:
        return f"{text} for all devices"
    return f"{text}, and {short_digest(pointer.staged.digest)} for {pointer.share:.3g} of the devices"
