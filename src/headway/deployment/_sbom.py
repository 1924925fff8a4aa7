"""The bill of materials of an image, in CycloneDX 1.6 by its own library."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from headway.core.record import digest_of
from headway.core.release import Release
from headway.deployment.python_packages import InstalledPackage


def write_sbom(
    release: Release,
    digest: str,
    *,
    packages: Iterable[InstalledPackage],
    system: Mapping[str, str],
    created: str,
) -> bytes:
    """Return the bill of materials of a release's image, as JSON; the same input gives the same bytes.

    Parameters
    ----------
    system
        Debian packages of the base image, name to version.
    """
    model = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=release.name,
        version=digest,
        bom_ref=f"release:{digest}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest.removeprefix("sha256:"))],
        properties=[Property(name=f"headway:file:{name}", value=value) for name, value in release.files.items()],
    )
    components = [*map(_python, packages), *(_debian(name, version) for name, version in system.items())]
    listed = "\n".join(sorted(str(component.purl) for component in components))
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, digest_of(f"{digest}\n{listed}".encode())),
        metadata=BomMetaData(component=model, timestamp=datetime.fromisoformat(created)),
    )
    bom.register_dependency(model, components)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1).encode()


def _python(package: InstalledPackage) -> Component:
    purl = PackageURL("pypi", name=package.name, version=package.version)
    licenses = [DisjunctiveLicense(name=package.license)] if package.license else []
    return Component(name=package.name, version=package.version, purl=purl, bom_ref=str(purl), licenses=licenses)


def _debian(name: str, version: str) -> Component:
    purl = PackageURL("deb", namespace="debian", name=name, version=version)
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl))
