"""Releases for devices and browsers without Python: C99 that is generated from the artifact, and its signature."""

from headway.deployment.edge.folder import VerifiedPackage, is_package, verify_package, write_package
from headway.deployment.edge.package import package_files
from headway.deployment.edge.wasm import wasm_files

__all__ = ["VerifiedPackage", "is_package", "package_files", "verify_package", "wasm_files", "write_package"]
