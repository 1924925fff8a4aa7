"""Colours of pages and charts, light and dark, and the stylesheet that has them."""

from __future__ import annotations

LIGHT = {
    "ink": "#18202a",
    "muted": "#566170",
    "line": "#d8dee6",
    "page": "#f4f6f8",
    "paper": "#ffffff",
    "pass": "#00705a",
    "fail": "#b3360b",
    "undecided": "#7d5a00",
    "live": "#1657b8",
    "came": "#5c6776",
    "shade": "#eceff3",
    "danger": "#fbe9e2",
}
DARK = {
    "ink": "#e9edf2",
    "muted": "#a7b1be",
    "line": "#343d49",
    "page": "#11151a",
    "paper": "#191f26",
    "pass": "#45c8a6",
    "fail": "#ff8c66",
    "undecided": "#e3b34a",
    "live": "#82b4ff",
    "came": "#9aa6b4",
    "shade": "#222933",
    "danger": "#3a241d",
}


def stylesheet() -> str:
    """Return the colours as CSS: custom properties for the page, and rules that repaint the charts in dark mode.

    A chart carries its light colours as attributes; a CSS rule on an attribute overrides it.
    """
    return "\n".join(
        (
            f":root{{{_properties(LIGHT)}}}",
            "@media screen and (prefers-color-scheme:dark){",
            f":root{{{_properties(DARK)}}}",
            *(_repaint(LIGHT[name], f"var(--{name})") for name in LIGHT),
            "}",
        )
    )


def _properties(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def _repaint(old: str, new: str) -> str:
    return f'svg [fill="{old}"]{{fill:{new}}}svg [stroke="{old}"]{{stroke:{new}}}'
