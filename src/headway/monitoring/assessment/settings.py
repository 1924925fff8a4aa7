"""D061: settings that say how the checks look at the data are others than when it was assessed."""

from __future__ import annotations

import msgspec

from headway.core.assessment import Assessment
from headway.core.config import Config
from headway.core.evidence import Finding

SECTIONS = ("data", "personal", "split")
NOT_HERE = ("data.source", "data.query")
"""The source has a finding of its own, and may hold a password."""

NAMED = 3


def settings_of(config: Config) -> dict[str, str]:
    """Every setting on which the findings of the checks depend, as JSON, by `section.field`."""
    found = {}
    for section in SECTIONS:
        for field, value in msgspec.to_builtins(getattr(config, section)).items():
            found[f"{section}.{field}"] = msgspec.json.encode(value, order="sorted").decode()
    return {name: text for name, text in found.items() if name not in NOT_HERE}


def finding(before: Assessment, now: Assessment) -> list[Finding]:
    """What to say where settings are others; one that this headway is the first to know does not count."""
    changed = [name for name, text in now.settings.items() if before.settings.get(name, text) != text]
    if not changed:
        return []
    told = ", ".join(
        f"{name} was {_short(before.settings[name])}, is {_short(now.settings[name])}" for name in changed[:NAMED]
    )
    more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    return [
        Finding(
            code="D061",
            severity="note",
            message=f"settings of the checks changed since {before.at[:10]}: {told}{more}",
            where="headway.toml",
            measured=float(len(changed)),
            limit=0.0,
        )
    ]


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
