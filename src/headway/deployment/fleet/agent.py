"""A device's agent: it polls the fleet's pointer until an event ends it, next to the device's server or alone."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import closing

from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.core.settings.project import ProjectSection
from headway.deployment.fleet.device import DevicePointer, PollResult
from headway.deployment.fleet.reporting import DeviceReporter, device_reporter
from headway.registry.bundle import Bundle, open_release
from headway.registry.fleet import DeviceRegistry
from headway.registry.settings.fleet import FleetSection
from headway.storage import traffic

_log = logging.getLogger(__name__)


def device_address(config: Config) -> str:
    """Return the pointer that a device follows."""
    return f"{config[ProjectSection].name}@{config[FleetSection].pointer}"


def device_name(config: Config) -> str:
    """Return the name of a device: that of `[fleet]`, or its host name."""
    return config[FleetSection].device or socket.gethostname()


def device_pointer(
    config: Config, registry: DeviceRegistry, *, accept: Callable[[Bundle], object] = open_release
) -> DevicePointer:
    """Return the pointer that `[fleet]` names."""
    return DevicePointer(
        url=config[FleetSection].url,
        address=device_address(config),
        device=device_name(config),
        registry=registry,
        accept=accept,
    )


def first_poll(config: Config) -> None:
    """Load the first release of a device that has none; raise HeadwayError if it finds none that verifies.

    Its self-test is that of the server that starts with it: no thread of an engine may live before a server forks.
    """
    registry = DeviceRegistry.of_device(config)
    with closing(registry.state):
        try:
            registry.resolve(device_address(config))
        except HeadwayError:
            pointer = device_pointer(config, registry, accept=lambda _: None)
            result = pointer.poll()
            if not result.release:
                raise HeadwayError(result.message, where=config[FleetSection].url) from None


def run_agent(config: Config, ended: threading.Event) -> None:
    """Poll every `[fleet] poll_s` until the event is set; log what is new, and a refusal until its reason changes.

    After each poll the device reports it, and ships its log.
    """
    registry, reporter = DeviceRegistry.of_device(config), device_reporter(config, device_name(config))
    with closing(registry.state):
        pointer, last = device_pointer(config, registry), PollResult("", changed=False)
        while not ended.is_set():
            last = _logged(pointer, last)
            report_poll(reporter, pointer, last)
            _bound_log(config)
            ended.wait(config[FleetSection].poll_s)


def report_poll(reporter: DeviceReporter | None, pointer: DevicePointer, result: PollResult) -> int:
    """Report a poll and ship the log, if the device has where to; return how many segments were shipped."""
    if reporter is None:
        return 0
    try:
        is_reported = reporter.report(pointer.state(), result, at=pointer.clock())
        return reporter.send_log() if is_reported else 0
    except (HeadwayError, OSError) as error:
        _log.error("nothing is reported: %s", error)
        return 0


def _bound_log(config: Config) -> None:
    """Delete the oldest part of the prediction log above `[fleet] log_mb`: a device may be offline for months."""
    try:
        count = traffic.delete_beyond(config.state, config[FleetSection].log_mb << 20)
    except (HeadwayError, OSError) as error:
        _log.error("the prediction log could not be bounded: %s", error)
    else:
        if count:
            _log.warning("the prediction log is full: its oldest %d segments are deleted", count)


def _logged(pointer: DevicePointer, last: PollResult) -> PollResult:
    """Poll, and log what is new; whatever goes wrong on the device itself, its release stays."""
    try:
        result = pointer.poll()
    except (HeadwayError, OSError) as error:
        result = PollResult(last.release, changed=False, reason="device", message=str(error))
    if result.changed:
        _log.warning("%s: release %s is loaded", pointer.address, result.release)
    if result.reason and result.reason != last.reason:
        _log.error("%s: nothing new is loaded (%s): %s", pointer.address, result.reason, result.message)
    return result
