"""`[provenance]`: who made the data, and from what."""

from __future__ import annotations

from typing import Annotated

from headway.core.record import Record, about

ENVIRONMENT = "environment"
"""Lineage goes where the client of OpenLineage itself is told to."""


class ProvenanceSection(Record, frozen=True, kw_only=True):
    """Who made the data, and from what; saved with each version of it, and shown in its Croissant card."""

    creator: Annotated[str, about("Who made the data: a person or an organisation.")] = ""
    made_from: Annotated[tuple[str, ...], about("What it was made from: names or URLs of other data.")] = ()
    description: Annotated[str, about("What the data is, in a sentence or two.")] = ""
    license: Annotated[str, about("Under what terms it may be used: a URL, or an SPDX name.")] = ""
    cite_as: Annotated[str, about("How to cite it: a BibTeX entry, or a sentence.")] = ""
    url: Annotated[str, about("Where it is described or had.")] = ""
    published: Annotated[str, about("When it was published: 2024-03-31.")] = ""
    lineage_to: Annotated[
        str,
        about(
            "Where lineage is sent: a URL that takes OpenLineage, or `environment`: as OPENLINEAGE_URL or its file say."
        ),
    ] = ""
