"""Make a base image for `headway export oci` from Debian's packages: the interpreter, C++ runtime and certificates.

usage: tools/base_image.py FOLDER [SUITE]
Needs root, mmdebstrap and a network, and takes about a minute. Prints FOLDER@sha256:..., which `--base` takes. Nothing
in the image comes from this machine: no sources of packages, no names of hosts.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from headway.core.record import digest_of
from headway.deployment import oci

SUITE = "trixie"
PACKAGES = "python3-minimal,libpython3-stdlib,libstdc++6,libgomp1,ca-certificates,media-types,tzdata"
WITHOUT = ("/usr/share/man/*", "/usr/share/locale/*", "/usr/share/doc/*", "/usr/share/info/*")
WITH = ("/usr/share/doc/*/copyright",)
UNUSED = (
    *("etc/apt/sources.list", "etc/apt/sources.list.d", "etc/hostname", "etc/hosts", "etc/resolv.conf"),
    *("var/cache/*", "var/log/*", "var/lib/apt/lists/*"),
)
MADE = "1970-01-01T00:00:00+00:00"
HINT = "tools/system services"


def make_base(layout: Path, *, suite: str = SUITE) -> str:
    """Make the base image in a new folder; return its reference, FOLDER@sha256:DIGEST."""
    if shutil.which("mmdebstrap") is None:
        raise FileNotFoundError(f"mmdebstrap is not installed\n  try: {HINT}")
    excluded = [f"--dpkgopt=path-exclude={path}" for path in WITHOUT]
    included = [f"--dpkgopt=path-include={path}" for path in WITH]
    clean = f'--customize-hook=cd "$1" && rm -rf {" ".join(UNUSED)}'
    with TemporaryDirectory() as folder:
        tar = Path(folder, "base.tar")
        packages = f"--include={PACKAGES}"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=essential", packages, *excluded, *included, clean, suite, str(tar)],
            check=True,
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},
        )
        content = tar.read_bytes()
    packed = gzip.compress(content, oci.GZIP_LEVEL, mtime=0)
    layer = oci.Layer(digest=digest_of(packed), size=len(packed), diff_id=digest_of(content))
    blobs = layout / "blobs/sha256"
    blobs.mkdir(parents=True)
    (blobs / layer.digest.removeprefix("sha256:")).write_bytes(packed)
    digest = oci.write_image(layout, [layer], base=None, run={}, created=MADE, annotations={}, name=suite)
    return f"{layout}@{digest}"


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(make_base(Path(sys.argv[1]), **({"suite": sys.argv[2]} if len(sys.argv) == 3 else {})))
