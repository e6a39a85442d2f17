"""The command proves what it prints: text, JSON and LaTeX, with an exit status that tells."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import theory.theorems
from theory import THEOREMS
from theory.__main__ import main
from theory.document import latex
from theory.table import FLOWS_SHOWN


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["theory", *arguments])
    return main()


def test_prints_every_theorem_with_its_table_and_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch) == 0
    printed = capsys.readouterr().out
    assert printed.count("  ok    ") == sum(len(theorem.steps) for theorem in THEOREMS)
    assert printed.count("a < 0, w > 0  ") == len(THEOREMS)
    assert "FAIL" not in printed


def test_a_failing_step_is_shown_and_sets_the_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = replace(THEOREMS[0], steps=(next(iter(THEOREMS[0].steps[0].mutants())),))
    monkeypatch.setattr(theory.theorems, "THEOREMS", (broken, *THEOREMS[1:]))
    assert run(monkeypatch) == 1
    printed = capsys.readouterr().out
    assert "NOT PROVED" in printed
    assert "  FAIL  " in printed


def test_one_theorem_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--theorem", "5.2", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["name"] == "5.2"
    assert record["holds"]
    assert len(record["quadrants"]) == 4


def test_the_table_of_flows_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--table") == 0
    printed = capsys.readouterr().out
    assert "proved" not in printed
    rows = [line for line in printed.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(FLOWS_SHOWN)
    assert all(flow.label in row for flow, row in zip(FLOWS_SHOWN, rows[1:], strict=True))


def test_an_unknown_theorem_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "--theorem", "5.3")
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
def test_the_article_compiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, "--latex", str(tmp_path / "proofs.tex")) == 0
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "proofs.tex"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "proofs.pdf").stat().st_size > 10_000


def test_the_article_states_and_balances() -> None:
    article = latex(THEOREMS)
    assert all(theorem.statement in article for theorem in THEOREMS)
    assert article.count(r"\begin{") == article.count(r"\end{")
    assert not re.search(r"[α-ωΑ-Ω₀-₉²√]", article)


def test_help_needs_neither_sympy_nor_scipy() -> None:
    probe = "import sys, theory, theory.__main__; sys.exit(bool({'sympy', 'scipy', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], check=False).returncode == 0


def test_the_page_states_every_theorem_as_proved() -> None:
    page = (Path(theory.theorems.__file__).parent / "README.md").read_text(encoding="utf-8")
    for theorem in THEOREMS:
        assert theorem.statement in page, theorem.name
        assert theorem.paper in page
        assert theorem.differs in page
