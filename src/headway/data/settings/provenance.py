"""Origin of the data; saved with each data version, and exported in its Croissant card."""

from __future__ import annotations

from typing import Annotated, ClassVar

from headway.core.record import about
from headway.core.settings_section import SettingsSection

ENVIRONMENT = "environment"
"""Send lineage as the environment of the OpenLineage client configures it."""


class ProvenanceSection(SettingsSection, frozen=True, kw_only=True):
    """Origin of the data; saved with each data version, and exported in its Croissant card."""

    table: ClassVar[str] = "provenance"

    creator: Annotated[str, about("Creator of the data: a person or an organization.")] = ""
    made_from: Annotated[tuple[str, ...], about("Source data sets: names or URLs.")] = ()
    description: Annotated[str, about("Description of the data, in a sentence or two.")] = ""
    license: Annotated[str, about("License of the data: an SPDX identifier or a URL.")] = ""
    cite_as: Annotated[str, about("Citation of the data: a BibTeX entry or a sentence.")] = ""
    url: Annotated[str, about("URL of the description or the download of the data.")] = ""
    published: Annotated[str, about("Date of publication, such as 2024-03-31.")] = ""
    lineage_to: Annotated[
        str,
        about("OpenLineage URL, or `environment`: from OPENLINEAGE_URL or its file; empty: not sent automatically."),
    ] = ""


plugin = ProvenanceSection
