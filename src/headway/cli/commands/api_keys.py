"""Manage the server's API keys: list, create, revoke or throttle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.errors import ConfigError
from headway.reporting.console import print_result
from headway.serving.auth.keys import ApiKey, Scope, create_key, keys_file, read_keys, revoke_key, throttle_key
from headway.serving.auth.shared_keys import keys_of_all_servers


def plugin(
    action: Literal["list", "new", "revoke", "throttle", "unthrottle"] = "list",
    name: str = "",
    *,
    scope: tuple[Scope, ...] = ("predict",),
    per_s: float = 0.0,
    burst: int = 0,
    model: tuple[str, ...] = (),
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> None:
    """List, create, revoke or throttle API keys of a project's servers, which pick a change up within a second.

    With [store] state the keys hold on all servers, by a list that the publisher key signs; without it, on those that
    read this file.

    Example: headway api-keys new billing --scope predict --per-s 100 --project headway-demo
    Example: headway api-keys throttle billing --per-s 0.1 --project headway-demo
    Example: headway api-keys unthrottle billing --project headway-demo
    Example: headway api-keys list --project headway-demo

    Parameters
    ----------
    action
        list, new (prints the key once; only its digest is stored), revoke, throttle (lower its rate until unthrottle).
    name
        Name of the key to create or change. Logs show the name, never the key.
    scope
        For new, repeat for several: predict, label (send labels), metrics (read /metrics), operate (load and unload),
        push (send rows of feature views), device (report and ship a log as the device of this name).
    per_s
        For new: requests per second over all workers; 0 uses [serve] key_per_s, inf sets no limit. For throttle: the
        lower rate.
    burst
        For new: requests accepted at once after a pause; 0 uses the rate of one second.
    model
        For new, repeat for several: a model that the key is for; without it, all models.
    """
    settings = config.load(project)
    file = keys_file(settings)
    value: dict[str, Any]
    with keys_of_all_servers(settings, change=action != "list"):
        if action == "new":
            key = create_key(file, name, scope, per_s=per_s, burst=burst, models=model)
            value, text = {"name": name, "key": key}, key
        elif action == "revoke":
            value, text = {"name": name, "revoked": revoke_key(file, name).revoked}, f"API key {name} is revoked"
        elif action in ("throttle", "unthrottle"):
            if action == "throttle" and not per_s:
                raise ConfigError("a throttle needs a rate", hint=f"headway api-keys throttle {name} --per-s 0.1")
            changed = throttle_key(file, name, per_s=per_s if action == "throttle" else 0.0)
            value = {"name": name, "throttle_per_s": changed.throttle_per_s}
            text = f"API key {name} is {'throttled' if changed.throttle_per_s else 'not throttled any more'}"
        keys = read_keys(file)
    if action == "list":
        width = max(map(len, keys), default=0)
        lines = [f"{key_name:{width}}  {_describe(key)}" for key_name, key in keys.items()]
        value, text = {"keys": keys}, "\n".join(lines) or "no API key exists\n  try: headway api-keys new NAME"
    print_result(value, text, json=json)


def _describe(key: ApiKey) -> str:
    models = f", models {', '.join(key.models)}" if key.models else ""
    limit = f", {key.per_s:g} requests/s" if key.per_s else ""
    burst = f", burst {key.burst}" if key.burst else ""
    burst += f", throttled to {key.throttle_per_s:g} requests/s" if key.throttle_per_s else ""
    revoked = f", revoked {key.revoked}" if key.revoked else ""
    return f"{', '.join(key.scopes)}{models}{limit}{burst}, created {key.made}{revoked}"
