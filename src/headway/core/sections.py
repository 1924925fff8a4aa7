"""Sections of headway.toml: one record each; every setting has a type, a default and a help text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from headway.core.record import FormerValues, Record, about
from headway.core.verdict import Rule


class ProjectSection(Record, frozen=True, kw_only=True):
    """Name and state folder of the project."""

    name: Annotated[str, about("Model name, used by releases and pointers.")] = "model"
    state: Annotated[str, about("Folder of releases, records and logs, relative to the project.")] = ".headway"


class UiSection(Record, frozen=True, kw_only=True):
    """Dashboard."""

    host: Annotated[str, about("Address that the dashboard listens on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port of the dashboard; 0: any free port.")] = 8090
    hosts: Annotated[
        tuple[str, ...],
        about("Names in the addresses by which people open the dashboard, besides those of this machine itself."),
    ] = ()
    url: Annotated[
        str,
        about(
            "Address by which people open the dashboard, such as https://headway.example; behind a reverse proxy, for "
            "links in messages, and for sign-in at an issuer. With https, cookies travel over TLS only."
        ),
    ] = ""
    proxies: Annotated[
        tuple[str, ...],
        about(
            "Addresses or networks of the reverse proxies whose X-Forwarded-For names the caller, such as 127.0.0.1."
        ),
    ] = ()
    tls_certificate: Annotated[str, about("PEM file of the certificate chain; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of the private key; empty: in the certificate file.")] = ""
    users: Annotated[str, about("File of people with roles and hashes of passwords, written by `headway users`.")] = (
        "users.toml"
    )
    idle_minutes: Annotated[
        float, Meta(description="Time without a request after which a person is signed out, minutes.", gt=0)
    ] = 60.0
    session_hours: Annotated[float, Meta(description="Time after which a person signs in again, hours.", gt=0)] = 12.0
    servers: Annotated[
        tuple[Annotated[str, Meta(pattern="^https?://[^/@]+$")], ...],
        about(
            "Addresses of the project's servers, such as http://127.0.0.1:8080, whose /metrics pages and alerts read; "
            "the key is read from HEADWAY_METRICS_KEY. Empty: the port of [serve] here, if a server runs there."
        ),
    ] = ()


AlertCondition = Literal[
    "degradation",
    "drift",
    "not_judged",
    "slo_burn",
    "quarantine",
    "ticket",
    "rollback",
    "refused_pointer",
    "log_lag",
    "server_down",
    "task_failed",
    "value_skew",
    "certificate",
    "threats",
    "probing",
]
"""States of a model that alerts are sent on."""
SettingValue = bool | int | float | str | tuple[str, ...]
_LENGTH = r"^[1-9]\d*[mhd]$"


class AlertRule(Record, frozen=True, kw_only=True):
    """Conditions to watch, and the receiver: `when` (empty: all), `to`, and its `settings`.

    `not_judged` fires after `periods` periods in a row, `quarantine` above `quarantine_share` of the rows of the last
    contract check, and `log_lag` above `log_lag_s` seconds. `resolved` also sends the end of a condition.
    """

    name: Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]{0,39}$")]
    to: str
    settings: dict[str, SettingValue] = {}
    when: tuple[AlertCondition, ...] = ()
    resolved: bool = True
    periods: Annotated[int, Meta(ge=1)] = 2
    quarantine_share: Annotated[float, Meta(ge=0, lt=1)] = 0.01
    log_lag_s: Annotated[float, Meta(gt=0)] = 60.0


class AlertSection(Record, frozen=True, kw_only=True):
    """Rules of alerts; in headway.toml each is a table `[[alert]]`."""

    rules: Annotated[tuple[AlertRule, ...], about("Rules: which conditions are sent to which receiver.")] = ()

    def __post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two rules have the name '{twice}'")


class ScheduleSection(Record, frozen=True, kw_only=True):
    """Work that `headway run` repeats."""

    every: Annotated[str, Meta(description="Interval of each task: 1d, 12h, 30m.", pattern=_LENGTH)] = "1d"
    intervals: Annotated[
        dict[str, Annotated[str, Meta(pattern=_LENGTH)]],
        about('Interval of single tasks in place of `every`, such as { labels = "1h" }.'),
    ] = {}
    tasks: Annotated[
        tuple[Literal["labels", "materialize", "check", "watch", "replay", "retrain", "erase", "threats"], ...],
        about("Tasks, run in this order; one whose settings are empty is left out."),
    ] = ("labels", "materialize", "check", "watch", "replay", "retrain", "erase", "threats")
    labels: Annotated[
        str, about("File of labels (csv or parquet), or a folder of them; each is imported once. Empty: no import.")
    ] = ""
    source: Annotated[
        Literal["table", "log"], about("Rows that `watch` reads: the project's table, or the prediction log.")
    ] = "table"
    window: Annotated[
        str, about("Length of a period that `watch` judges: 1mo, 1q, 28d; for the log also 1d or 1h.")
    ] = "1mo"
    task_hours: Annotated[
        float, Meta(description="Time after which a task is ended and counts as failed, hours.", gt=0)
    ] = 12.0
    alerts_s: Annotated[float, Meta(description="Interval at which alerts are judged and sent, seconds.", gt=0)] = 60.0


class StoreSection(Record, frozen=True, kw_only=True):
    """Addresses of the stores, for projects that several machines share; a password is refused in an address."""

    secrets: ClassVar[Mapping[str, str]] = {
        "state": "PGPASSWORD, PGPASSFILE or ~/.pgpass",
        "blobs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of AWS credentials",
        "logs": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a file of AWS credentials",
        "feed": "HEADWAY_STORE_FEED_PASSWORD, or HEADWAY_STORE_FEED_PASSWORD_FILE",
        "online": "HEADWAY_STORE_ONLINE_PASSWORD, or HEADWAY_STORE_ONLINE_PASSWORD_FILE",
    }

    state: Annotated[
        str,
        about(
            "Pointers and records: postgresql://USER@HOST/DATABASE, or file:///FOLDER that machines share; empty: "
            "SQLite in the folder of [project] state."
        ),
    ] = ""
    blobs: Annotated[
        str, about("Models and releases: s3://BUCKET/PREFIX; empty: files in the folder of [project] state.")
    ] = ""
    logs: Annotated[
        str, about("Prediction log and labels: s3://BUCKET/PREFIX; empty: files in the folder of [project] state.")
    ] = ""
    feed: Annotated[
        str,
        about("Change feed and rate limits over all servers, all rebuildable: redis://HOST:PORT/DB; empty: none."),
    ] = ""
    online: Annotated[
        str,
        about(
            "Online features, in Redis or Valkey: redis://HOST:PORT/DB; empty: SQLite in the folder of [project] state."
        ),
    ] = ""


class ComputeSection(Record, frozen=True, kw_only=True):
    """Where work that can be shared runs."""

    ray: Annotated[
        str,
        Meta(
            description="Ray, over which predict, evaluate, retrain and optimize share work: auto (the cluster of "
            "RAY_ADDRESS, else a Ray of its own on this machine) or ray://HOST:PORT; empty: this process alone.",
            pattern="^(|auto|ray://[^@/]+:[0-9]+)$",
        ),
    ] = ""


class DataSection(Record, frozen=True, kw_only=True):
    """Source of the data, and the role of each column."""

    former_names: ClassVar[Mapping[str, str]] = {
        "lists": "query_id",
        "people": "sensitive_features",
        "weight": "sample_weight",
    }

    source: Annotated[
        str,
        about("Parquet, CSV or Arrow file, a folder of them, a database URL, or module:function that returns a table."),
    ] = ""
    query: Annotated[str, about("SQL query that returns the table, for a database source.")] = ""
    missing: Annotated[tuple[str, ...], about("Strings that mean a missing value, such as NA.")] = ()
    max_rows: Annotated[
        int,
        Meta(
            description="Rows that `headway check` and `watch` hold in memory: all rows of a larger table are counted, "
            "and this many sampled, in whole groups; 0: 100 million values, such as 5 million rows of 20 columns.",
            ge=0,
        ),
    ] = 0
    contract: Annotated[
        str, about("File of the data contract: types, ranges and categories of the columns; optional.")
    ] = "contract.toml"
    task: Annotated[str, about("Task: binary, multiclass, multilabel, regression, ranking or embedding.")] = "binary"
    target: Annotated[str, about("Column to predict; in a binary task, 1 is the positive class.")] = ""
    positive: Annotated[str, about("Value of the positive class of a binary target; empty: 1.")] = ""
    classes: Annotated[
        tuple[str, ...],
        about("Classes of a multiclass target, or labels of a multilabel one, in order; empty: numbered from 0."),
    ] = ()
    time: Annotated[str, about("Time column; the split into periods uses it.")] = ""
    decision: Annotated[
        str, about("Time of the prediction, such as `2h before departure`; empty: the time column.")
    ] = ""
    groups: Annotated[
        str,
        about(
            "Column of groups of dependent rows, such as days; `COLUMN.day` for the days of a time column. Confidence "
            "intervals resample groups."
        ),
    ] = ""
    query_id: Annotated[str, about("Column of the query whose rows are ranked together; empty: the groups column.")] = (
        ""
    )
    slices: Annotated[
        tuple[str, ...],
        about(
            "Columns whose values are slices, each evaluated separately; `COLUMN.language` for the languages of a "
            "column of texts."
        ),
    ] = ()
    sensitive_features: Annotated[
        tuple[str, ...], about("Columns of groups of people, between which fairness gaps are measured.")
    ] = ()
    text: Annotated[
        tuple[str, ...],
        about("Columns of texts, such as messages: features that are read word by word, not categories."),
    ] = ()
    sample_weight: Annotated[str, about("Column of sample weights.")] = ""
    ignore: Annotated[tuple[str, ...], about("Columns that are not used.")] = ()
    key: Annotated[str, about("Column that identifies a row in the table and in its snapshot; not a feature.")] = ""
    snapshot: Annotated[
        str,
        about("Table as it was at the time of the decisions, a file or module:function; check D033 compares it."),
    ] = ""
    label_delay: Annotated[str, about("Delay between a row and its label: 1d, 12h, 30m; empty: none.")] = ""
    known: Annotated[
        dict[str, str], about("Time at which each column is known: request, outcome, or the name of a time column.")
    ] = {}

    @property
    def name(self) -> str:
        """Source without its password."""
        return without_password(self.source)


class FeaturesSection(Record, frozen=True, kw_only=True):
    """Feature views that the model reads: shared features, joined as they were known at the time of the decision."""

    views: Annotated[
        tuple[str, ...],
        about(
            "Views whose features the model reads: `weather`, the newest version at training, or `weather@v2`. The "
            "table of [data] has their entities."
        ),
    ] = ()
    max_us_per_percent: Annotated[
        float,
        Meta(
            description="CPU time a row that the look-up of a view may take for each percent of the error that it is "
            "worth, microseconds: above it `headway features worth` proposes to remove the view as too dear.",
            gt=0,
        ),
    ] = 5.0
    max_lag: Annotated[
        str,
        Meta(
            description="For value replay: how long a value may be known before the online store has it, such as 1h. "
            "Empty: the interval of the task `materialize` and an eighth, if a schedule runs it, else 0.",
            pattern=r"^([1-9]\d*[mhd])?$",
        ),
    ] = ""


class SplitSection(Record, frozen=True, kw_only=True):
    """Periods of the time column, [from, to): train for the model, validation for the search, test for the winner."""

    former_names: ClassVar[Mapping[str, str]] = {"choose": "validation"}

    train: Annotated[tuple[str, ...], about("Training period.")] = ()
    validation: Annotated[tuple[str, ...], about("Period on which the search evaluates variants, without limit.")] = ()
    test: Annotated[
        tuple[str, ...], about("Period on which the winner is evaluated; every evaluation is counted.")
    ] = ()
    live: Annotated[tuple[str, ...], about("Period after the release, replayed as traffic.")] = ()
    shares: Annotated[
        tuple[float, float, float],
        about(
            "Without periods: shares of the rows for train, validation and test, in order of time, without splitting "
            "groups."
        ),
    ] = (0.6, 0.2, 0.2)


class Costs(Record, frozen=True, kw_only=True):
    """Costs of a false positive and of a false negative, in the same unit."""

    former_names: ClassVar[Mapping[str, str]] = {"false_alarm": "false_positive", "miss": "false_negative"}

    false_positive: float = 1.0
    false_negative: float = 1.0

    @property
    def pair(self) -> tuple[float, float]:
        """The costs of a false positive and of a false negative."""
        return self.false_positive, self.false_negative


class ModelSection(Record, frozen=True, kw_only=True):
    """The baseline model."""

    former_names: ClassVar[Mapping[str, str]] = {"class_weights": "class_weight"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "class_weight": {"alike": "balanced", "as_they_come": "none"}
    }

    train: Annotated[str, about("module:function that takes the training table and returns a fitted model.")] = ""
    file: Annotated[
        str,
        about(
            "Model file instead of a training function: .txt (LightGBM), .onnx and others, the folder of an MLflow "
            "model, or an address in MLflow (models:/name@alias)."
        ),
    ] = ""
    import_timeout_s: Annotated[
        float,
        Meta(
            description="Time limit of the process that runs an ONNX graph first, when it is imported, seconds.", gt=0
        ),
    ] = 60.0
    import_memory_mb: Annotated[
        int, Meta(description="Memory limit of that process, beyond the memory of ONNX Runtime, MB.", gt=0)
    ] = 4096
    scores: Annotated[
        str, about("Column with the scores of another system instead of a model: `headway watch` then monitors them.")
    ] = ""
    class_weight: Annotated[
        str,
        Meta(
            description="Class weights in training: none, or balanced (inversely proportional to class frequency).",
            pattern="^(none|balanced)$",
        ),
    ] = "none"
    costs: Annotated[
        Costs | None,
        about(
            "Costs of a false positive and a false negative; the decision threshold minimizes the expected cost. "
            "Without costs the model's own predict decides."
        ),
    ] = None
    epsilon: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        about("Epsilon of the differential privacy of its training, which is recorded and not verified."),
    ] = None
    delta: Annotated[float, Meta(description="Delta that belongs to `epsilon`; 0: pure privacy.", ge=0, lt=1)] = 0.0
    mechanism: Annotated[str, about("How `epsilon` was reached, such as DP-SGD of opacus.")] = ""

    @property
    def decision_costs(self) -> Costs:
        """Costs of wrong decisions; 1 each if none are declared."""
        return self.costs or Costs()


class OptimizeSection(Record, frozen=True, kw_only=True):
    """The search for a faster variant."""

    objective: Annotated[str, about("Measure to minimize among feasible variants.")] = "latency.one_row"
    transforms: Annotated[tuple[str, ...], about("Transforms to combine, in this order; empty: all.")] = ()
    families: Annotated[
        tuple[str, ...], about("Model families to train as further candidates: forest, histgb, lightgbm, logistic.")
    ] = ()
    without: Annotated[
        tuple[str, ...], about("Features, or feature views with all of theirs, that the variants are to do without.")
    ] = ()
    defer: Annotated[
        tuple[str, ...],
        about("Feature views, or features, that are looked up only where a first model without them does not decide."),
    ] = ()
    max_changed: Annotated[
        float,
        Meta(
            description="Largest share that the full model may decide otherwise, of the rows that the first model of "
            "`defer` answers, and of all rows for `pine`.",
            gt=0,
            lt=1,
        ),
    ] = 0.01
    private: Annotated[
        bool,
        about(
            "Also try variants whose answers say less: rounded, flattened, of the top classes, or learned out of fold; "
            "a rule on `privacy.` or `extraction.` does so too."
        ),
    ] = False
    budget_s: Annotated[float, about("Time limit of the search with its verdict, seconds; 0: no limit.")] = 0.0
    wait_quiet: Annotated[
        bool, about("Wait until other processes leave the cores before speed is measured, at most 10 minutes.")
    ] = False


class EvaluateSection(Record, frozen=True, kw_only=True):
    """Full evaluation of the winner of a search."""

    budget_s: Annotated[float, Meta(description="Time limit of one audit, seconds.", gt=0)] = 60.0
    audits: Annotated[
        tuple[str, ...],
        about(
            "Audits that `headway evaluate` runs in addition to the default ones, such as `membership`; an audit that "
            "a rule of the policy needs runs anyway."
        ),
    ] = ()
    rate_per_s: Annotated[
        float, Meta(description="Mean request rate of the open-loop test in the audit `load`, requests/s.", gt=0)
    ] = 200.0
    together: Annotated[
        tuple[tuple[str, ...], ...], about("Sets of features that the audit `ablation` removes together.")
    ] = ()
    paraphrases: Annotated[
        str,
        about(
            "csv file with columns `phrase` and `paraphrase`, for the audit `robustness` of texts; empty: only a small "
            "table in English and German."
        ),
    ] = ""


class CostSection(Record, frozen=True, kw_only=True):
    """Cost of the serving machine."""

    core_hour: Annotated[
        float,
        Meta(description="Price of one core for an hour (machine price / cores); 0: unknown.", ge=0),
    ] = 0.0
    currency: Annotated[str, about("Currency of `core_hour`.")] = "USD"


class SloSection(Record, frozen=True, kw_only=True):
    """Service-level objectives."""

    p99_ms: Annotated[float, about("Objective for the 99th percentile of request latency, ms.")] = 50.0
    availability: Annotated[
        float, about("Objective for the share of requests neither refused nor failed by a server error, in (0, 1).")
    ] = 0.999


class PolicySection(Record, frozen=True, kw_only=True):
    """Rules for releases, rollouts, monitoring and retraining, and the minimum sizes of slices."""

    release: Annotated[
        tuple[Rule, ...], about("Rules that a variant must pass to be released; empty: the default rules of the task.")
    ] = ()
    floor: Annotated[
        str,
        Meta(
            description="What a release must be better than: data (adds rules on the gain over the constant prediction "
            "and over a simple reference model), none (rules may all be relative to the baseline); empty: the rules "
            "must hold an absolute one, or nothing passes.",
            pattern="^(|data|none)$",
        ),
    ] = ""
    canary: Annotated[
        tuple[Rule, ...],
        about("Rules that a canary must pass against live; empty: from the release's verdict and [slo]."),
    ] = ()
    watch: Annotated[
        tuple[Rule, ...],
        about(
            "Rules on live in each period: on its quality, on its change since the evaluation (`.change`), or on cost."
        ),
    ] = ()
    retrain: Annotated[
        tuple[Rule, ...],
        about(
            "Rules that a retrained model must pass against live; empty: `brier.drop` at most 0, relative release "
            "rules."
        ),
    ] = ()
    contract_margin: Annotated[
        float, Meta(description="Tolerance beyond the observed range of a column, as a share of that range.", ge=0)
    ] = 0.1
    slice_rows: Annotated[int, about("Minimum rows of a slice to be judged.")] = 1000
    slice_groups: Annotated[int, about("Minimum groups of a slice to be judged, and of any confidence interval.")] = 20


class TrustSection(Record, frozen=True, kw_only=True):
    """Signing key of the publisher, and public keys that a server trusts; both files lie outside the store."""

    publisher_key: Annotated[str, about("File of the private key that signs releases; keep it off servers.")] = (
        "~/.config/headway/publisher.pem"
    )
    trusted_keys: Annotated[
        str, about("File of trusted public keys, one per line; only releases that they signed are loaded.")
    ] = "trusted_keys.txt"
    operator_key: Annotated[
        str, about("File of the private key by which the dashboard rolls back and approves; it cannot publish.")
    ] = "~/.config/headway/operator.pem"
    operator_keys: Annotated[
        str, about("File of public keys that may move a pointer back to a release that it had, and sign approvals.")
    ] = "operator_keys.txt"
    timestamp_key: Annotated[
        str, about("File of the private key that signs the timestamps of a fleet; a pointer says until when.")
    ] = "~/.config/headway/timestamp.pem"
    last_seen: Annotated[
        str,
        about(
            "File with the last pointer updates that this machine has seen, which detects an old copy of the store; "
            "empty: next to the trusted keys."
        ),
    ] = ""


class FleetSection(Record, frozen=True, kw_only=True):
    """A fleet of devices: what a device polls, and how long a publisher's signatures hold."""

    url: Annotated[
        str,
        about("On a device: the folder that `headway fleet publish` wrote, over HTTP; empty: this machine polls none."),
    ] = ""
    device: Annotated[
        str, about("On a device: its name, by whose hash it loads a staged release; empty: its host name.")
    ] = ""
    pointer: Annotated[str, about("Pointer that devices follow.")] = "live"
    poll_s: Annotated[float, Meta(description="On a device: seconds between two polls.", ge=0.1)] = 60.0
    report_url: Annotated[
        str,
        about(
            "On a device: address of the `headway serve` that takes its reports and its prediction log; empty: none."
        ),
    ] = ""
    key_file: Annotated[
        str, about("On a device: file with its API key, which has its name and the scope `device`.")
    ] = "device_key.txt"
    log_mb: Annotated[
        int, Meta(description="On a device: size of the prediction log, above which its oldest segments go.", ge=1)
    ] = 256
    device_mb_per_day: Annotated[
        int, Meta(description="On the server: size of the log that it accepts of one device on a day (UTC), MB.", ge=1)
    ] = 64
    retrain: Annotated[
        bool, about("On the server: retrain also by rows that devices logged, not only by those of servers.")
    ] = False
    valid: Annotated[str, Meta(description="How long devices believe a timestamp: 1d, 12h, 30m.", pattern=_LENGTH)] = (
        "1d"
    )
    key_valid: Annotated[str, Meta(description="How long a key of timestamps may sign: 30d, 12h.", pattern=_LENGTH)] = (
        "30d"
    )


class ThreatsSection(Record, frozen=True, kw_only=True):
    """Assessment of threats, `headway threats`: how often it repeats, and who owns it."""

    every: Annotated[
        str,
        Meta(
            description="Time after which an assessment is due again, and above which evidence is too old: 90d, 12h.",
            pattern=_LENGTH,
        ),
    ] = "90d"
    level: Annotated[
        int,
        Meta(
            description="Level of requirements that must be covered: 1 (every served model) to 3 (strong attacker).",
            ge=1,
            le=3,
        ),
    ] = 1
    owner: Annotated[str, about("Person or team that decides on gaps.")] = ""


class AttackSection(Record, frozen=True, kw_only=True):
    """Search space and effort of the audits `attack` and `evasion`, which change rows, and of `extraction`."""

    fixed: Annotated[tuple[str, ...], about("Features that an attacker cannot change.")] = ()
    bounds: Annotated[
        dict[str, tuple[float, float]],
        about("Range [min, max] within which each numeric feature may be changed; by default the observed range."),
    ] = {}
    cost: Annotated[
        dict[str, Annotated[float, Meta(gt=0)]],
        about("Cost of changing each feature, which multiplies its distance in the audit `evasion`; by default 1."),
    ] = {}
    columns: Annotated[int, Meta(description="Maximum features of a row changed at once.", ge=1)] = 2
    reach: Annotated[
        float, Meta(description="Maximum change of a numeric feature, in interquartile ranges of its column.", gt=0)
    ] = 1.0
    radius: Annotated[
        float,
        Meta(description="Radius of `evasion.certified`, in interquartile ranges times the cost of a feature.", gt=0),
    ] = 0.05
    rows: Annotated[int, Meta(description="Rows to attack, spread over all groups.", ge=20)] = 1000
    queries: Annotated[
        int, Meta(description="Maximum decisions per row and model; a row not flipped by then counts as robust.", ge=20)
    ] = 1000
    copy_queries: Annotated[
        int, Meta(description="Maximum queries of an attack of the audit `extraction`, which copies the model.", ge=100)
    ] = 10_000


LegalBasis = Literal[
    "consent", "contract", "legal obligation", "vital interests", "public task", "legitimate interests"
]
"""Legal bases of Article 6(1) of the GDPR, (a) to (f)."""


class PersonalSection(Record, frozen=True, kw_only=True):
    """Handling of personal data, by column or by kind: email, phone, card, iban, national_id, ip."""

    drop: Annotated[tuple[str, ...], about("Columns or kinds to drop when data is loaded.")] = ()
    hash: Annotated[
        tuple[str, ...],
        about("Columns or kinds to replace by a keyed hash, which still allows joins and groups."),
    ] = ()
    keep: Annotated[dict[str, str], about("Columns or kinds to keep unchanged, each with a reason.")] = {}
    key: Annotated[str, about("File of the hash key, created on first use; it must lie outside the store.")] = (
        "~/.config/headway/personal.key"
    )
    retention: Annotated[
        str,
        Meta(
            description="Retention of the prediction log, labels and quarantine: 90d, 12h; empty: unlimited.",
            pattern=r"^(\d+[dhm])?$",
        ),
    ] = ""
    purpose: Annotated[
        dict[str, str],
        about('Purpose of each column, such as { age = "limits of the tariff" }; "*": all other columns.'),
    ] = {}
    legal_basis: Annotated[
        dict[str, LegalBasis], about('Legal basis of each column with personal data, by the GDPR; "*": all others.')
    ] = {}


class RecordSection(Record, frozen=True, kw_only=True):
    """What people declare for the compliance record, and how long it is kept."""

    purpose: Annotated[str, about("Intended purpose of the model, and who uses its answers.")] = ""
    provider: Annotated[str, about("Provider of the system: name and address.")] = ""
    controller: Annotated[str, about("Controller of the personal data: name and contact.")] = ""
    officer: Annotated[str, about("Data protection officer: name and contact.")] = ""
    people: Annotated[tuple[str, ...], about("Categories of people whose data is used, such as customers.")] = ()
    recipients: Annotated[tuple[str, ...], about("Categories of recipients of the data and of the answers.")] = ()
    transfers: Annotated[str, about("Transfers to other countries and their safeguards, or `none`.")] = ""
    necessity: Annotated[str, about("Why the data is necessary for the purpose, and in proportion to it.")] = ""
    oversight: Annotated[str, about("How people oversee the model and can overrule it.")] = ""
    risk_management: Annotated[str, about("Where the risk management system is described.")] = ""
    changes: Annotated[str, about("Changes of the system that were planned and assessed in advance.")] = ""
    standards: Annotated[tuple[str, ...], about("Standards and specifications that were applied.")] = ()
    declaration: Annotated[str, about("Where the EU declaration of conformity is kept, or `none`.")] = ""
    rights: Annotated[str, about("How people exercise their rights, and where they complain.")] = ""
    retention: Annotated[
        str,
        Meta(
            description="How long a compliance record is kept, such as 3653d; empty: undeclared.", pattern=r"^(\d+d)?$"
        ),
    ] = ""
    legal_hold: Annotated[
        str,
        about("Why nothing may be deleted now, such as a proceeding; it stops retention and erasure. Empty: no hold."),
    ] = ""


ENVIRONMENT = "environment"
"""Send lineage as the environment of the OpenLineage client configures it."""


class ProvenanceSection(Record, frozen=True, kw_only=True):
    """Origin of the data; saved with each data version, and exported in its Croissant card."""

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


class RetrainSection(Record, frozen=True, kw_only=True):
    """Triggers of retraining, promotion of the result, and recalibration in between."""

    mode: Annotated[
        str,
        Meta(
            description="suggest: a person promotes the retrained model; auto: promote it if it passes.",
            pattern="^(suggest|auto)$",
        ),
    ] = "suggest"
    through: Annotated[
        str,
        Meta(
            description="Promotion of a retrained model that passed: canary (by a rollout) or live (at once).",
            pattern="^(canary|live)$",
        ),
    ] = "canary"
    rows_grown: Annotated[float, about("Retrain once labeled rows have grown by this share since training.")] = 0.5
    ece_at_most: Annotated[
        float, about("Retrain once the expected calibration error is shown to exceed this value.")
    ] = 0.05
    recalibrate_days: Annotated[
        int, about("Latest labeled groups, such as days, on which recalibration is fitted and judged; at least 7.")
    ] = 28
    recalibrate_by: Annotated[
        str,
        Meta(
            description="Calibrator: shift, platt, temperature, beta, isotonic or venn_abers; best: the best of them.",
            pattern="^(shift|platt|temperature|beta|isotonic|venn_abers|best)$",
        ),
    ] = "shift"
    seeds: Annotated[int, about("Trainings with different random seeds, to estimate the variance between seeds.")] = 3
    judged_days: Annotated[
        int, about("Latest labeled days, held out of training, on which the retrained model is judged.")
    ] = 28
    hour_costs: Annotated[float, about("Cost of an hour of training, in the unit of [model] costs; 0: free.")] = 0.0
    accept_out_of_range: Annotated[
        tuple[str, ...],
        about("Inputs that the world, and no broken feed, moved out of their range: their days train and judge."),
    ] = ()


class RolloutSection(Record, frozen=True, kw_only=True):
    """Rollout of a release in stages; each stage must pass the canary rules before the next."""

    shares: Annotated[
        tuple[Annotated[float, Meta(ge=0, lt=1)], ...],
        Meta(
            description="Share of keys that the new release answers, one per stage; 0: shadow traffic, answers are not "
            "returned.",
            min_length=1,
        ),
    ] = (0.0, 0.05, 0.25, 0.5)
    min_requests: Annotated[
        int, Meta(description="Minimum requests that the new release answers at a stage before it advances.", ge=0)
    ] = 0
    at_most_hours: Annotated[
        float, Meta(description="Time limit of an undecided stage, hours; then the rollout ends as inconclusive.", gt=0)
    ] = 24.0
    churn_same_model: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        about(
            "Largest share of decisions that may differ from live's if the release is another form of the live model, "
            "such as a faster engine; default: the release's own limit on decision_churn."
        ),
    ] = None
    churn_new_model: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        about(
            "Largest share of decisions that may differ from live's if the release is a new model, such as a "
            "retraining; default: twice the upper bound that its evaluation against live showed, at least 0.05; 0.2 "
            "without one."
        ),
    ] = None
    quiet_s: Annotated[
        float,
        Meta(description="Time without requests after which a followed rollout is reported as idle, seconds.", gt=0),
    ] = 300.0


class OidcSection(Record, frozen=True, kw_only=True):
    """OpenID Connect issuer: its access tokens (JWTs) at the server, and its people at the dashboard."""

    issuer: Annotated[str, about("URL of the issuer, exactly as its tokens name it (`iss`); empty: no tokens.")] = ""
    audience: Annotated[str, about("Audience that a token must have (`aud`); required for tokens.")] = ""
    algorithms: Annotated[
        tuple[Annotated[str, Meta(pattern="^((RS|PS|ES)(256|384|512)|Ed25519)$")], ...],
        Meta(description="Signature algorithms that are accepted, whatever a token names.", min_length=1),
    ] = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
    clock_skew_s: Annotated[
        float, Meta(description="Tolerance for the clock of the issuer, seconds.", ge=0, le=600)
    ] = 30.0
    scope_claim: Annotated[str, about("Claim with the scopes: a string with spaces, or a list.")] = "scope"
    scope_prefix: Annotated[
        str, about("Prefix of the scopes `predict`, `label`, `metrics` and `operate` in a token, such as `headway:`.")
    ] = ""
    models_claim: Annotated[
        str, about("Claim with the models that a token is for, a string with spaces or a list; empty: all models.")
    ] = ""
    jwks_url: Annotated[
        str, about("URL of the issuer's keys; empty: from its document /.well-known/openid-configuration.")
    ] = ""
    refresh_s: Annotated[
        float, Meta(description="Interval at which the issuer's keys are fetched, on a thread, seconds.", ge=1)
    ] = 300.0
    keys_max_age_s: Annotated[
        float,
        Meta(description="Time for which keys are used while the issuer does not answer, seconds.", ge=1),
    ] = 86_400.0
    client_id: Annotated[
        str, about("Client of the issuer by which people sign in to the dashboard; empty: they do not.")
    ] = ""
    client_secret_file: Annotated[
        str, about("File with the secret of that client, outside the store; empty: a public client.")
    ] = ""
    client_scopes: Annotated[tuple[str, ...], about("Scopes that the dashboard requests.")] = (
        "openid",
        "profile",
        "email",
    )
    name_claim: Annotated[
        str,
        about(
            "Claim with the name of a person; an `email` that is not verified, or no such claim: the subject, `sub`."
        ),
    ] = "email"
    role_claim: Annotated[
        str, about("Claim with the groups of a person, a list or a string; within another claim: `realm_access.roles`.")
    ] = "groups"
    roles: Annotated[
        dict[str, Annotated[str, Meta(pattern="^(viewer|labeller|operator|admin)$")]],
        about('Role in the dashboard by group, such as {"ml-team" = "operator", "*" = "viewer"}; `*`: everyone.'),
    ] = {}


class RemoteStage(Record, frozen=True, kw_only=True):
    """A model elsewhere that answers what the released model does not.

    With the protocol `openai` it is behind an OpenAI-compatible endpoint, and gets the texts of a message with personal
    data replaced. With `headway` it is a model of another headway server, and gets the whole row. Both are asked
    over https, and only if `url` is set. Costs are in the currency of [cost]. Its key is read from
    HEADWAY_ANSWER_REMOTE_KEY.
    """

    url: str = ""
    protocol: Literal["openai", "headway"] = "openai"
    model: str = ""
    deadline_s: Annotated[float, Meta(gt=0)] = 10.0
    queue: Annotated[int, Meta(ge=1)] = 100
    cost_per_call: Annotated[float, Meta(ge=0)] = 0.0
    spend_cap_per_day: Annotated[float, Meta(ge=0)] = 0.0

    @property
    def identity(self) -> str:
        """Digest of what is asked, by which answers are audited; "" for a headway server, whose certificate counts."""
        endpoint = f"{self.url} {self.model}".encode()
        return hashlib.sha256(endpoint).hexdigest()[:16] if self.protocol == "openai" and self.url else ""


class AnswerSection(Record, frozen=True, kw_only=True):
    """Selective answering: the share of wrong answers that is allowed, and who answers the other rows."""

    secrets: ClassVar[Mapping[str, str]] = {
        "remote": "HEADWAY_ANSWER_REMOTE_KEY, or HEADWAY_ANSWER_REMOTE_KEY_FILE",
    }

    limit: Annotated[
        float,
        Meta(
            description="Largest share of the model's own answers that may be wrong; 0: the model answers every row.",
            ge=0,
            lt=1,
        ),
    ] = 0.0
    level: Annotated[
        float, Meta(description="Probability with which a certified threshold keeps the limit.", ge=0.5, lt=1)
    ] = 0.95
    rule: Annotated[
        Literal["", "probability", "margin", "entropy", "odds"],
        about("What the confidence is computed from; empty: the rule with the largest coverage on `validation`."),
    ] = ""
    reject: Annotated[
        str, about("Class of the target for messages that no answer applies to, such as oos; it is never answered.")
    ] = ""
    per_class: Annotated[
        bool,
        about("Answer only classes that have a certificate of their own; else one certificate is for all of them."),
    ] = False
    cost_per_message: Annotated[
        float,
        Meta(description="Cost of a message that people answer, in the currency of [cost]; 0: unknown.", ge=0),
    ] = 0.0
    stages: Annotated[
        tuple[Literal["remote", "people"], ...],
        about("Who answers what the model does not, in this order."),
    ] = ("people",)
    forwarded_by: Annotated[
        str,
        about("Release (NAME@live) of a device that forwards rows to this model; the certificate is of both together."),
    ] = ""
    audit_share: Annotated[
        float,
        Meta(description="Share of the answers of the model and of the remote stage that people check.", ge=0, le=1),
    ] = 0.02
    absent: Annotated[
        Literal["hold", "apologise", "uncertified"],
        about(
            "What a caller gets when no stage answers in time: hold (nothing yet), apologise (the text `apology`), or "
            "uncertified (the model's answer, marked so)."
        ),
    ] = "hold"
    apology: Annotated[str, about("Text of the reply when no stage answers.")] = (
        "Thank you for your message. A person will answer it."
    )
    remote: Annotated[
        RemoteStage,
        about(
            "Model that is asked elsewhere: url, protocol (openai, or headway for another headway server), model, "
            "deadline_s, queue, cost_per_call, spend cap."
        ),
    ] = RemoteStage()


class MailServer(Record, frozen=True, kw_only=True):
    """A mail server; `none` as `security` is refused for one on another machine, and port 0 is the usual one.

    `ca` is a PEM file of the authorities that signed its certificate; empty: those of the system.
    """

    server: str = ""
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    security: Literal["tls", "starttls", "none"] = "tls"
    user: str = ""
    folder: str = "INBOX"
    ca: str = ""


class SupportSection(Record, frozen=True, kw_only=True):
    """Messages of customers: where they come from, approved replies, and whether replies are sent."""

    secrets: ClassVar[Mapping[str, str]] = {
        "imap": "HEADWAY_SUPPORT_IMAP_PASSWORD, or HEADWAY_SUPPORT_IMAP_PASSWORD_FILE",
        "smtp": "HEADWAY_SUPPORT_SMTP_PASSWORD, or HEADWAY_SUPPORT_SMTP_PASSWORD_FILE",
        "webhook_port": "HEADWAY_SUPPORT_WEBHOOK_SECRET, or HEADWAY_SUPPORT_WEBHOOK_SECRET_FILE",
        "server": "HEADWAY_SUPPORT_API_KEY, or HEADWAY_SUPPORT_API_KEY_FILE",
    }

    send: Annotated[bool, about("Send replies to customers; false: each reply stays a draft.")] = False
    sender: Annotated[str, about("Address that replies are sent from, such as help@shop.example.")] = ""
    replies: Annotated[str, about("File of approved replies: intent, language, valid_until and text.")] = "replies.toml"
    language: Annotated[
        str, Meta(description="Language of replies to messages that name none.", pattern="^[a-z]{2,3}(-[A-Za-z0-9]+)?$")
    ] = "en"
    replies_per_day: Annotated[
        int, Meta(description="Replies that one address gets in 24 hours; others wait for a person.", ge=1)
    ] = 5
    minutes_by_hand: Annotated[
        float, Meta(description="Minutes that a person takes for one message, for the hours saved.", gt=0)
    ] = 5.0
    server: Annotated[
        str,
        Meta(
            description="Address of the server that answers, such as http://127.0.0.1:8080; empty: that of [serve].",
            pattern="^(https?://[^/@]+)?$",
        ),
    ] = ""
    every_s: Annotated[float, Meta(description="Interval at which mail is fetched, seconds.", gt=0)] = 30.0
    imap: Annotated[MailServer, about("Mailbox that messages are read from: server, port, security, user, folder.")] = (
        MailServer()
    )
    smtp: Annotated[MailServer, about("Server that replies are sent by: server, port, security, user.")] = MailServer()
    listen: Annotated[str, about("Address that the webhook and the SMTP port of `headway support run` listen on.")] = (
        "127.0.0.1"
    )
    webhook_port: Annotated[int, about("TCP port for messages by signed HTTP requests; -1: none, 0: any.")] = -1
    smtp_port: Annotated[int, about("TCP port for messages by SMTP; -1: none, 0: any.")] = -1


class ServeSection(Record, frozen=True, kw_only=True):
    """Inference server."""

    former_names: ClassVar[Mapping[str, str]] = {"log": "log_mode"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {"log_mode": {"true": "all", "false": "off"}}

    host: Annotated[str, about("Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, about("TCP port of HTTP; 0: any free port.")] = 8080
    grpc_port: Annotated[int, about("TCP port of gRPC; 0: any free port, -1: no gRPC.")] = -1
    workers: Annotated[
        int,
        Meta(
            description="Worker processes; 0: one per core, or fewer under a CPU or memory limit of the container.",
            ge=0,
        ),
    ] = 0
    shutdown_delay_s: Annotated[
        float,
        Meta(
            description="Time for which a stopping server still answers while it is not ready any more, seconds; under "
            "Kubernetes, longer than load balancers take to notice.",
            ge=0,
        ),
    ] = 0.0
    drain_s: Annotated[
        float,
        Meta(description="Time after which requests that a stopping server still answers are aborted, seconds.", ge=0),
    ] = 10.0
    max_body_bytes: Annotated[int, about("Maximum request body, bytes.")] = 8_388_608
    max_name_bytes: Annotated[
        int, Meta(description="Maximum length of a key, an id or a name in a request, bytes.", ge=1)
    ] = 256
    max_request_rows: Annotated[int, Meta(description="Maximum rows of a request.", ge=1)] = 65_536
    max_bodies_mb: Annotated[
        int,
        Meta(
            description="Maximum size of all bodies that a worker holds, MB; further large ones get status 503.", ge=1
        ),
    ] = 128
    max_connections: Annotated[
        int,
        Meta(
            description="Maximum open connections of a worker, over HTTP and over gRPC each; further ones get status "
            "503, and over gRPC are closed without being counted.",
            ge=1,
        ),
    ] = 4096
    max_batch_rows: Annotated[int, Meta(description="Maximum rows of a batch (one engine call).", ge=1)] = 1024
    max_queue_rows: Annotated[
        int, Meta(description="Maximum rows in the queue; further requests get status 429.", ge=1)
    ] = 16_384
    label_queue_mb: Annotated[
        int,
        Meta(description="Maximum size of requests whose labels wait to be written, MB; then status 429.", ge=1),
    ] = 16
    push_queue_mb: Annotated[
        int,
        Meta(
            description="Maximum size of requests whose rows of feature views wait to be stored, MB; then status 429. "
            "As much again for the logs of devices.",
            ge=1,
        ),
    ] = 16
    long_ms: Annotated[float, about("Expected batch time above which a batch runs on a separate thread, ms.")] = 0.5
    timeout_s: Annotated[
        float, Meta(description="Time after which a waiting request gets status 504, seconds; 0: never.", ge=0)
    ] = 0.0
    contract: Annotated[
        str,
        Meta(
            description="Action on values that violate the contract: off, count, mark or reject.",
            pattern="^(off|count|mark|reject)$",
        ),
    ] = "count"
    round_digits: Annotated[int, Meta(description="Decimal places of outputs; -1: no rounding.", ge=-1)] = -1
    trusted_origins: Annotated[
        tuple[str, ...],
        about("Origins of web pages that may send writes, such as https://ml.example; pages of the server itself may."),
    ] = ()
    keys: Annotated[str, about("File of API keys, written by `headway api-keys`.")] = "keys.toml"
    key_per_s: Annotated[
        float, Meta(description="Rate limit of keys without their own, requests/s; 0: no limit.", ge=0)
    ] = 0.0
    key_burst: Annotated[
        int, Meta(description="Burst size of keys without their own, requests; 0: the requests of one second.", ge=0)
    ] = 0
    probing_false_alarms: Annotated[
        float,
        Meta(description="Chance that `headway probing` finds any honest key on a day, over all keys.", gt=0, lt=1),
    ] = 0.01
    throttle_per_s: Annotated[
        float,
        Meta(
            description="Rate to which a key that `headway probing` finds is throttled, requests/s; 0: none is.", ge=0
        ),
    ] = 0.0
    without_keys: Annotated[
        bool,
        Meta(
            description="Accept requests from other machines without API keys; use only behind an authenticating proxy."
        ),
    ] = False
    metrics_need_key: Annotated[bool, about("Require an API key with the scope `metrics` for /metrics.")] = False
    tls_certificate: Annotated[str, about("PEM file of the certificate chain; empty: no TLS.")] = ""
    tls_key: Annotated[str, about("PEM file of the private key; empty: in the certificate file.")] = ""
    tls_client_ca: Annotated[
        str, about("PEM file of the CAs for client certificates (mutual TLS); empty: none required.")
    ] = ""
    tls_profile: Annotated[
        str,
        Meta(
            description="TLS versions and ciphers, by Mozilla's profiles: modern (TLS 1.3), or intermediate (1.2 as "
            "well).",
            pattern="^(modern|intermediate)$",
        ),
    ] = "modern"
    log_format: Annotated[
        str, Meta(description="Format of the log on stderr: text or json.", pattern="^(text|json)$")
    ] = "text"
    access_log: Annotated[float, Meta(description="Share of requests in the access log, in [0, 1].", ge=0, le=1)] = 0.0
    tracer: Annotated[str, about("Tracer: otel (OpenTelemetry); empty: no traces.")] = ""
    trace_to: Annotated[
        str, about("OTLP endpoint, such as http://127.0.0.1:4318; empty: from the OTEL_* environment variables.")
    ] = ""
    trace_share: Annotated[
        float, Meta(description="Sampling rate of requests without a traceparent header, in [0, 1].", ge=0, le=1)
    ] = 0.01
    log_mode: Annotated[
        str,
        Meta(
            description="Prediction log: all rows (requests wait while its buffer is full), sample (while it fills, a "
            "part of the requests is logged, with its rate) or off.",
            pattern="^(all|sample|off)$",
        ),
    ] = "all"
    log_wait_s: Annotated[
        float,
        Meta(
            description="Time for which requests wait for a log that cannot be written, seconds; after it they are "
            "answered without a log row, and the rows are counted as lost.",
            ge=0,
        ),
    ] = 5.0
    log_flush_s: Annotated[float, about("Maximum time that log rows stay in memory, seconds.")] = 0.5
    log_buffer_mb: Annotated[
        int, Meta(description="Log buffer of each worker, MB; while it is full, requests wait.", ge=1)
    ] = 16


def without_password(text: str) -> str:
    """Replace the password of every URL in a text.

    >>> without_password("postgresql://ada:secret@db.example/flights?password=secret")
    'postgresql://ada:***@db.example/flights?password=***'
    """
    text = re.sub(r"(://[^:@]*):.*@", r"\1:***@", text, flags=re.DOTALL)
    return re.sub(r"(?i)((?:password|secret\w*)=)[^&\s]+", r"\1***", text)
