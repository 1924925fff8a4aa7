"""Import files of labels from where another system writes them, each once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from headway.core.errors import DataError
from headway.core.record import digest_of, write
from headway.core.schedule import LabelImport
from headway.data.settings.data import DataSection
from headway.monitoring.prediction_log import read_label_file, unlogged_keys
from headway.monitoring.settings.schedule import ScheduleSection
from headway.registry.project import Project
from headway.storage.addresses import log_root, open_logs
from headway.storage.traffic import save_labels

SUFFIXES = (".csv", ".parquet")


class ImportedLabels(NamedTuple):
    """Number of new files, of labels in them, and of keys that no logged request has."""

    files: int
    labels: int
    unknown: int


def import_labels(project: Project, *, who: str) -> ImportedLabels:
    """Store the labels of each new file at `[schedule] labels`, a file or a folder.

    A file is new if no file of its name and content was imported. A later label of a key replaces an earlier one, so
    files are read in the order of their names. Raises DataError for a file that cannot be read; those before it stay.
    """
    config, path = project.config, project.config.path(project.config[ScheduleSection].labels)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith("."))
    elif path.is_file():
        files = [path]
    else:
        raise DataError("no file or folder of labels is there", where=str(path), hint="[schedule] labels")
    n_files = n_labels = n_unknown = 0
    for file in files:
        done = LabelImport(name=project.name, file=file.name, content=digest_of(_content(file)))
        if project.records(LabelImport, digest=digest_of(write(done))):
            continue
        labels = read_label_file(file, config[DataSection])
        unknown = unlogged_keys(log_root(config, project.name), project.name, [label.key for label in labels])
        n_labels += save_labels(config.state, project.name, labels, who=who)
        project.save(done)
        n_files, n_unknown = n_files + 1, n_unknown + len(unknown or ())
    if n_files and (logs := open_logs(config)):
        logs.ship()
    return ImportedLabels(n_files, n_labels, n_unknown)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DataError(f"a file of labels cannot be read: {error.strerror}", where=str(file)) from error
