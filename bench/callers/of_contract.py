"""Check a file against the contract of a project, and print the CPU time and the peak memory.

usage: of_contract.py PROJECT FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import process_time

if __name__ == "__main__" and "--help" in sys.argv[1:]:  # before the imports of libraries that may be absent
    print(__doc__)
    sys.exit()

from headway.core.config import load
from headway.data.contract.check import check_contract


def peak_mb() -> float:
    """Return the peak memory of this process so far; `getrusage` would include that of its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


if __name__ == "__main__":
    before, began = peak_mb(), process_time()
    found = check_contract(load(Path(sys.argv[1])), Path(sys.argv[2]))
    result = {"failing": found.n_failing, "cpu_s": process_time() - began, "peak_mb": peak_mb(), "before_mb": before}
    print(json.dumps(result))
