"""The winner of a search that other code made, as a pull request: a record and its models, which cannot run code.

One job trains and searches, and writes a folder; another one, which runs no code of the first, reads it. Nothing in the
folder is believed but what can be computed from the models: evidence and verdict are made again where it is read.
"""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from headway.core import record
from headway.core.contracts import Blobs
from headway.core.dataset import Dataset
from headway.core.errors import Refused, StoreError
from headway.core.plugins import load_blobs
from headway.core.search_result import SearchResult
from headway.core.variant import Variant
from headway.optimization.importers.models import expect_features
from headway.scanning.files import judge_artifact
from headway.storage import atomic
from headway.storage.in_memory import InMemoryBlobs

CANDIDATE = "candidate.json"
_MODELS = "models"


def write_candidate(folder: Path, search: SearchResult, blobs: Blobs) -> None:
    """Write the result of a search, and the bytes of its winner and its baseline, into a folder."""
    models = load_blobs("files")(folder / _MODELS)
    for variant in (search.baseline.model, search.winner.variant):
        models.put(blobs.get(variant.artifact.digest))
    atomic.write(folder / CANDIDATE, record.write(search))


def read_candidate(folder: Path, rows: Dataset) -> tuple[SearchResult, Blobs]:
    """Return the search result in a folder without its measurements, and its models.

    Parameters
    ----------
    folder : Path
        Folder that `write_candidate` wrote, perhaps changed by anyone since.
    rows : Dataset
        Rows that it will be measured on, with the roles of the project.

    Raises
    ------
    Refused
        If a model is not shown to hold no code that runs, or answers another task.
    DataError
        If a model reads a column that the rows lack, or that is known only after the outcome.
    StoreError
        If the folder does not hold a candidate.
    """
    try:
        content = (folder / CANDIDATE).read_bytes()
    except OSError as error:
        raise StoreError(
            f"no candidate can be read: {error.strerror}",
            where=str(folder / CANDIDATE),
            hint=f"headway optimize --candidate {folder}, in the job that trains",
        ) from error
    search = record.read(SearchResult, content)
    models, blobs = load_blobs("files")(folder / _MODELS), InMemoryBlobs()
    for variant in (search.baseline.model, search.winner.variant):
        if variant.task != rows.roles.task:
            what = f"the candidate is a {variant.task} model, and the project's task is {rows.roles.task}"
            raise Refused(what, where=str(folder))
        expect_features(variant.signature.names, rows)
        blobs.put(_expect_no_code(variant, models.get(variant.artifact.digest)))
    return replace(search, evaluated=(), screened_out=(), reasons={}, refusals=(), answers=None), blobs


def _expect_no_code(variant: Variant, content: bytes) -> bytes:
    """Return the bytes of a model; raises Refused unless every part of them is read and harmless."""
    judged = judge_artifact(content, engine=variant.engine)
    if judged.verdict == "safe":
        return content
    first = judged.problems[0]
    raise Refused(
        f"the candidate {variant.name} is {judged.verdict}: {first.message}",
        where=first.location,
        hint="headway scan shows every reason; models of headway's own formats, ONNX, LightGBM, XGBoost, CatBoost and "
        "skops are opened",
    )
