"""Extract the picture of the README from a report: `python tools/picture.py headway-demo/report.html [SVG]`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

OUT = Path(__file__).parent.parent / "docs/pictures/frontier.svg"


def main(report: str, out: str | Path = OUT) -> None:
    """Write the wide chart of the search, with a white background for dark pages."""
    file = Path(out)
    page = Path(report).read_text(encoding="utf-8")
    found = re.search(r'<figure id="frontier"[^>]*>.*?(<svg.*?</svg>)', page, re.DOTALL)
    if found is None:
        sys.exit(f"no frontier in {report}: run make demo first")
    svg = found[1] if "xmlns=" in found[1] else found[1].replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
    file.parent.mkdir(exist_ok=True)
    file.write_text(svg.replace(">", '><rect width="100%" height="100%" fill="white"/>', 1) + "\n", encoding="utf-8")
    print(f"wrote {file.name}")


main(*sys.argv[1:])
