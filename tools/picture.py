"""Take the picture of the README out of a report: `python tools/picture.py headway-demo/report.html`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "docs/pictures/frontier.svg"


def main(report: str) -> None:
    """Write the first picture of the report, which is the frontier, with a white ground for dark pages."""
    found = re.search(r"<svg.*?</svg>", Path(report).read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        sys.exit(f"no picture in {report}: run make demo first")
    svg = found[0] if "xmlns=" in found[0] else found[0].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(svg.replace(">", '><rect width="100%" height="100%" fill="white"/>', 1) + "\n", encoding="utf-8")
    print(f"wrote {OUT.name}")


main(*sys.argv[1:])
