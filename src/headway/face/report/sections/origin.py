"""Which data the model learned from and was judged on, by digests that are signed with a release."""

from __future__ import annotations

from headway.face.report.section import Section
from headway.face.report.story import Story
from headway.face.text import numbers
from headway.face.text.sheets import Column, Line, Sheet


def plugin(story: Story) -> Section | None:
    """The section for the data; None where no period was kept."""
    if not story.data:
        return None
    spans = {span.name: f"{span.first} to {span.until}" for span in story.spans}
    rows = tuple(
        ((Line(text=name),), (Line(text=spans.get(name, "")),), (Line(text=numbers.short(digest)),))
        for name, digest in story.data.items()
    )
    titles = ("Period", "From, to before", "Digest")
    return Section(
        title="Which data",
        place=90,
        reads=(),
        lead="The rows of each period are known by a digest of their content, which no order and no file format moves. "
        "A release is signed with these digests; the command headway data tells what has changed since.",
        means=tuple(_means(story.data)),
        sheet=Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows),
    )


def _means(data: dict[str, str]) -> list[str]:
    learned, judged = data.get("train"), data.get("test")
    if learned is None or judged is None:
        return []
    if learned == judged:
        return ["The test is the very rows that the model learned from: it judges nothing."]
    return ["The test as a whole is not what the model learned from; a check of the data finds rows of both."]
