"""Releases for devices and browsers, signed: C99 that is generated from the artifact, WebAssembly, or wheels."""

from headway.deployment.edge.folder import VerifiedPackage, is_package, verify_package, write_package
from headway.deployment.edge.package import package_files
from headway.deployment.edge.wasm import wasm_files
from headway.deployment.edge.wheels import MACHINES, wheel_files

__all__ = [
    "MACHINES",
    "VerifiedPackage",
    "is_package",
    "package_files",
    "verify_package",
    "wasm_files",
    "wheel_files",
    "write_package",
]
