"""The report's section on language: a stored ledger of sparse transformers on text, held against the paper's claims.

`reproduce` does not train these networks. It reads what is kept of them in a folder of results: the ledger of their
sweeps, the bits per byte of simple models on the same text, and text that some of the networks wrote.
"""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from commons.files import read_json, unreadable
from commons.verdicts import Verdict
from figures.claims import Finding, merged
from figures.language_claims import EFFECT, Runs, findings_of, flipped_by_kind
from figures.mathml import command
from figures.report import Evidence, Numbers, Picture, Section, Table, claims_table
from figures.tables import Rows, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sparse_training.sweeps import Ledger

LEDGER, BASELINES, SAMPLES = "text-gpt.jsonl", "text-baselines.csv", "text-gpt-sample*.json"
METRIC = "bits_per_byte"
MAKE = f"python -m sparse_training sweep campaigns/text-gpt-brief.toml --ledger results/{LEDGER} --out runs/text-gpt"
ABSENT = f"""\
These networks take hours, so they are not trained here, and the folder of kept results does not have the ledger of \
their runs, {LEDGER}. This command makes it:"""


@dataclass(frozen=True, eq=False)
class Language:
    """What is kept of runs on text.

    ledger: None where there is none.   baselines: simple models with their bits per byte, each row with the digest of
    the text and the number of test crops.   samples: what `sample RUN --out FILE` wrote.
    """

    ledger: "Ledger | None" = None
    baselines: Rows = ()
    samples: Sequence[Mapping[str, Any]] = ()

    @classmethod
    def read(cls, results: Path) -> "Language":
        """What a folder of results keeps; nothing where it has no ledger of runs on text.

        Raises:
            InputError: a file cannot be read, or is not what its name says.
        """
        from sparse_training.sweeps import Ledger
        from sparse_training.sweeps.table import header_of

        path = results / LEDGER
        if not path.is_file():
            return cls()
        ledger = Ledger(path)
        for sweep in ledger.sweeps() or [""]:
            if (metric := header_of(ledger, sweep)["metric"]) != METRIC:
                unreadable(path, f"its sweep {sweep} compares {metric} and not {METRIC}")
        table = results / BASELINES
        columns = ("digest", "test crops", "model"), ("bits per byte",)
        baselines = read_table(table, *columns) if table.is_file() else ()
        return cls(ledger, baselines, [_sample(file) for file in sorted(results.glob(SAMPLES))])

    @cached_property
    def sweeps(self) -> dict[str, Runs]:
        """The sweeps that have a run, in the order in which they were told, by the name of their table and picture."""
        ledger = self.ledger
        names = [] if ledger is None else [sweep for sweep in ledger.sweeps() if ledger.runs(sweep)]
        return {f"language-{name}": Runs.of(ledger, name) for name in names if ledger is not None}

    @cached_property
    def findings(self) -> list[Finding]:
        """The claims that can be asked of language models, each with the answers of all sweeps."""
        return merged(finding for runs in self.sweeps.values() for finding in findings_of(runs))

    @cached_property
    def tables(self) -> dict[str, Rows]:
        """For each sweep its arms, and their flips by the kind of matrix; the claims; the simple models."""
        found: dict[str, Rows] = {}
        for name, runs in self.sweeps.items():
            known = _matching(runs, self.baselines)
            found |= {name: _arms(runs, known), f"{name}-kinds": _kinds(runs)}
            found |= {"language-baselines": known}
        found["language-claims"] = [finding.row() for finding in self.findings]
        return {name: rows for name, rows in found.items() if rows}

    def drawn(self) -> "dict[str, Figure]":
        """For each sweep the seeds of its arms and their differences."""
        from figures.ledgers import ledger_figure

        ledger = self.ledger
        return {} if ledger is None else {n: ledger_figure(ledger.path, runs.sweep) for n, runs in self.sweeps.items()}

    def section(self, figures: Path) -> Section:
        """The section of the report, apart from what `ready` adds. figures: the folder with the pictures of `drawn`."""
        if not self.sweeps:
            return Section("Language", ABSENT)
        pictures, tables = [], []
        for name, runs in self.sweeps.items():
            caption = f"{runs.sweep}: every seed (dots), means and paired differences with 95 % intervals."
            again = f"python -m figures sweep results/{LEDGER}"
            pictures.append(Picture(name, figures / f"{name}.svg", caption, again))
            tables.append(
                Table(name, f"{runs.sweep}: bits per byte of held-out text; fewer are better", self.tables[name])
            )
            if f"{name}-kinds" in self.tables:
                title = f"{runs.sweep}: active weights that end with another sign than they began with, in %"
                tables.append(Table(f"{name}-kinds", title, self.tables[f"{name}-kinds"]))
        if "language-baselines" in self.tables:
            title = "Simple models on the same held-out text; n-grams see all of the training text"
            tables.append(Table("language-baselines", title, self.tables["language-baselines"]))
        return Section("Language", self._text(), pictures, tables)

    def ready(self, numbers: Numbers) -> str:
        """Claims and samples as HTML; numbers: of the figures and tables of the whole report."""
        if not self.sweeps:
            return f"<p>{command(MAKE)}</p>\n"
        rows = self.tables["language-claims"]
        return claims_table(rows, [self._evidence(row) for row in rows], numbers) + "".join(map(_shown, self.samples))

    def _text(self) -> str:
        told = " and ".join(
            f"campaigns/{runs.sweep}.toml ({len(runs.lines)} runs of {runs.epochs} epochs,"
            f" {runs.bytes_read / 1e6:.1f} MB of text)"
            for runs in self.sweeps.values()
        )
        counts = Counter(finding.verdict for finding in self.findings)
        verdicts = ", ".join(f"{kind} {counts[kind]}" for kind in Verdict if counts[kind])
        return (
            "A decoder-only transformer (preset text-gpt) reads the sources of Python's standard library as bytes, and"
            " AdamW trains it. The paper trains no language model, so this is how its claims fare where it did not"
            f" look. They were not trained for this report: results/{LEDGER} keeps the runs of {told}.\n\n"
            f"Verdicts on {len(self.findings)} claims: {verdicts}. They do not count among those at the top. A gain"
            f" counts where it is nearer to {EFFECT} bits per byte than to none, and a start recovers its baseline"
            f" within {EFFECT}. One small network on one text says nothing about large ones."
        )

    def _evidence(self, row: Mapping[str, Any]) -> Evidence:
        for name, runs in self.sweeps.items():
            if row["rung"].startswith(runs.rung):
                table = f"python -m sparse_training sweep table results/{LEDGER} --sweep {runs.sweep}"
                return Evidence(name, name, table)
        return Evidence()


def _arms(runs: Runs, baselines: Rows) -> Rows:
    """The sweep's table, and for each arm the longest n-gram that its mean is below."""
    from sparse_training.sweeps.table import rows_of

    grams = [row for row in baselines if "gram" in row["model"]]
    rows = []
    for row, each in zip(rows_of(runs.comparisons, runs.header), runs.comparisons, strict=True):
        row = {key.replace("_", " "): value for key, value in row.items()}
        if grams:
            under = [gram["model"] for gram in grams if each.mean and each.mean.mean < gram["bits per byte"]]
            row["below the"] = under[-1].partition(" ")[0] if under else None
        rows.append(row)
    return rows


def _kinds(runs: Runs) -> Rows:
    """Of each arm the share of flipped weights by the kind of matrix, in %, mean over seeds."""
    rows = []
    for arm, lines in runs.arms.items():
        shares = [found for line in lines.values() if (found := flipped_by_kind(line))]
        if shares:
            rows.append({"arm": arm, **{kind: float(np.mean([own[kind] for own in shares])) for kind in shares[0]}})
    return rows


def _matching(runs: Runs, baselines: Rows) -> Rows:
    """The simple models on the text that the runs are tested on: of the same digest and number of crops."""
    used = {(line["data"]["digest"], str(line["settings"]["data"].get("test_crops"))) for line in runs.lines}
    return [
        {"model": row["model"], "bits per byte": float(row["bits per byte"])}
        for row in baselines
        if {(row["digest"][:16], row["test crops"])} == used
    ]


def _sample(path: Path) -> dict[str, Any]:
    """What `sample RUN --out FILE` wrote."""
    content = read_json(path)
    wanted = {"text": str, "command": str, "network": str, METRIC: float}
    if not all(isinstance(content.get(key), kind) for key, kind in wanted.items()):
        unreadable(path, f"a sample has {', '.join(wanted)}")
    return content


def _shown(sample: Mapping[str, Any]) -> str:
    told = f"Written by: {sample['network']}; {sample[METRIC]:.3f} bits per byte of held-out text."
    return (
        f'<figure class="sample"><pre>{html.escape(sample["text"])}</pre>\n'
        f"<figcaption>{html.escape(told)} {command(sample['command'])}</figcaption></figure>\n"
    )
