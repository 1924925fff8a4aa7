"""Score a file, or a folder of files, with a release: what the command `predict` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from headway.batch import compute, journal
from headway.batch.folder import folder_terms, list_files, score_folder
from headway.batch.journal import OutputFiles, Receipt, Terms, describe_terms
from headway.batch.objects import open_output
from headway.batch.scorer import Callback, Scorer, score_file
from headway.batch.settings.compute import ComputeSection
from headway.core.batch import Format, ScoringOptions
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.plugins import load_engine, load_format, load_sibling, names, own
from headway.core.release import Release
from headway.core.threads import cores
from headway.data.settings.data import DataSection
from headway.registry.bundle import Bundle, open_release
from headway.registry.model_registry import ModelRegistry
from headway.registry.withdrawals import withdrawn_classes

_INPUT_ALIASES = {"arrows": "arrow", "ipc": "arrow", "feather": "arrow"}


def predict(
    config: Config,
    reference: str,
    source: Path | str,
    out: Path | str,
    *,
    keep: Sequence[str] = (),
    spreadsheet_safe: bool = False,
    threads: int = 0,
    callback: Callback = lambda _: None,
) -> Receipt:
    """Score a file larger than memory, or a folder; a run that was killed resumes after its last finished part.

    The release is verified, and answers its self-test, before a row is read. A refused row is null in
    the output, and listed in `OUT.refused.csv`. A folder of parquet files with Hive partitions becomes a folder of the
    same files, which are shared over Ray if `[compute] ray` is set. Output on S3 is scored on disk first.

    Parameters
    ----------
    config
        Project configuration.
    reference
        Release that scores: NAME@POINTER or NAME@DIGEST.
    source, out
        Files, or folders, to read and to write; a string is an address such as `s3://BUCKET/PREFIX`.
    keep
        Columns of the source to copy into the output.
    spreadsheet_safe
        Whether to escape formulas in the strings of kept columns and of refused rows.
    threads
        Threads that run the engine; 0 uses every core.
    callback
        Receives the progress after each part.

    Raises
    ------
    DataError
        If a column is missing, or of another type than the model reads.
    StoreError
        If `out` was started with another release, file or options, or before a certificate was withdrawn.
    """
    bundle, withdrawn = _resolve(config, reference)
    options = _scoring_options(bundle.release, config, keep, spreadsheet_safe, withdrawn)
    workers = _workers(bundle.release, threads)
    score = partial(_score, config, bundle, source, options=options, threads=workers, callback=callback)
    if isinstance(out, Path):
        return score(out)
    _expect_apart(source, out)
    with open_output(out, config.state) as output:
        return output.fill(source_terms(bundle, source, options), score)


def _score(
    config: Config,
    bundle: Bundle,
    source: Path | str,
    out: Path,
    *,
    options: ScoringOptions,
    threads: int,
    callback: Callback,
) -> Receipt:
    """Score a file, or a folder, into files on disk."""
    if isinstance(source, str) or source.is_dir():
        ray = config[ComputeSection].ray
        open_workers = partial(compute.open_ray, ray) if ray else None
        return score_folder(
            bundle, source, out, options=options, threads=threads, compute=open_workers, callback=callback
        )
    files = OutputFiles.of(out)
    reader, writer = _format(source, _INPUT_ALIASES), _format(out, {})
    terms = describe_terms(bundle, source, options)
    done = journal.load_receipt(files, terms)
    if done is not None:
        return done
    scan = None
    if any(view.features for view in bundle.release.views) and source.is_file():
        joining = load_sibling(__name__, "views", reads="features of views")
        scan = joining.open_joined(source, options, config, bundle.release)
    return score_file(
        Scorer(release=bundle.release, engine=open_release(bundle), withdrawn=options.withdrawn),
        scan or reader.scan(source, options),
        writer,
        files,
        describe=lambda: describe_terms(bundle, source, options),
        terms=terms,
        options=options,
        threads=threads,
        digest=bundle.digest,
        callback=callback,
    )


def source_terms(bundle: Bundle, source: Path | str, options: ScoringOptions) -> Terms:
    """Return the terms of scoring a source as it is now."""
    if isinstance(source, str) or source.is_dir():
        return folder_terms(bundle, source, list_files(source), options)
    return describe_terms(bundle, source, options)


def _expect_apart(source: Path | str, out: str) -> None:
    """Raise ConfigError if the next run would read the output."""
    if isinstance(source, str) and f"{out.rstrip('/')}/".startswith(f"{source.rstrip('/')}/"):
        raise ConfigError(f"'{out}' is in the source '{source}'", hint="an output next to the source")


def _resolve(config: Config, reference: str) -> tuple[Bundle, tuple[str, ...]]:
    """Return a release, and the classes whose certificate was withdrawn, sorted."""
    register = ModelRegistry.from_config(config)
    try:
        bundle = register.resolve(reference)
        plan, name = bundle.release.answers, bundle.release.name
        if plan is None:
            return bundle, ()
        return bundle, tuple(sorted(withdrawn_classes(register.state, plan, name=name, digest=bundle.digest)))
    finally:
        register.state.close()


def _scoring_options(
    release: Release, config: Config, keep: Sequence[str], escape: bool, withdrawn: tuple[str, ...]
) -> ScoringOptions:
    views = {column: view.name for view in release.views for column in view.feature_names}
    signature, missing = release.variant.signature, tuple(config[DataSection].missing)
    return ScoringOptions(
        signature=signature,
        keep=tuple(dict.fromkeys(keep)),
        missing=missing,
        spreadsheet_safe=escape,
        views=views,
        withdrawn=withdrawn,
    )


def _format(path: Path, others: Mapping[str, str]) -> Format:
    """Return the format of a file by its suffix."""
    suffix = path.suffix.lower().removeprefix(".")
    name = others.get(suffix, suffix)
    if name not in own("format") and name not in names("format"):  # other packages are searched for others alone
        known = ", ".join(f".{key}" for key in names("format"))
        raise ConfigError(f"'{path.name}' has an unknown format", where=f"known: {known}", hint="rename it")
    return load_format(name)


def _workers(release: Release, threads: int) -> int:
    """Return how many threads run the engine: fewer if it has threads itself."""
    if threads < 0:
        raise ConfigError(f"cannot score with {threads} threads", hint="--threads 1 or more; 0 takes every core")
    total = threads or cores()
    settings = {**getattr(load_engine(release.variant.engine), "defaults", {}), **release.variant.settings}
    own = int(settings.get("threads", 1)) or total
    return max(1, total // own)
