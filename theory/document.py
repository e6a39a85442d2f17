"""The theorems on paper: as plain text, as JSON, and as a LaTeX article that a plain pdflatex compiles."""

import re
import textwrap
from collections.abc import Iterable
from typing import Any

import sympy as sp

from theory.proof import QUADRANTS, Theorem

PREAMBLE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath}
\usepackage[margin=2cm]{geometry}
\allowdisplaybreaks
\title{The single neuron: statements and proofs}
\date{}
\begin{document}
\maketitle
\noindent Student $a\,\mathrm{relu}(w \cdot x)$, teacher $\mathrm{relu}(v \cdot x)$. Each displayed claim was decided
by SymPy: an equation by simplification to exact zero, an inequality by a certificate whose sign follows from the
assumptions on its symbols.
"""
GREEK = {
    "α": "alpha",
    "β": "beta",
    "γ": "gamma",
    "δ": "delta",
    "η": "eta",
    "θ": "theta",
    "κ": "kappa",
    "λ": "lambda",
    "μ": "mu",
    "π": "pi",
    "ρ": "rho",
    "σ": "sigma",
    "φ": "varphi",
    "ψ": "psi",
    "ω": "omega",
}
SIGNS = {
    "≥": r"\ge",
    "≤": r"\le",
    "−": "-",
    "·": r"\cdot ",
    "∞": r"\infty",
    "→": r"\to",
    "∂": r"\partial ",
    "½": r"\frac12 ",
}
SIGNS |= {
    "¼": r"\frac14 ",
    "√": r"\surd ",
    "‖": r"\|",
    "²": "^2",
    "∠": r"\angle ",
    "≠": r"\ne ",
    "≪": r"\ll ",
    "≫": r"\gg ",
    "′": "'",
    "¹": "^1",
    "ȧ": r"\dot a",
}
SIGNS |= dict(zip("₀₁₂₊₋", ("_0", "_1", "_2", "_+", "_-"), strict=True))
SIGNS |= {letter: rf"\{name} " for letter, name in GREEK.items()}


def text(theorem: Theorem) -> str:
    """The theorem, its table over the four sign quadrants and its steps, each with its verdict."""
    proof = theorem.prove()
    width = max(map(len, QUADRANTS))
    lines = [f"{theorem.name}. {theorem.title}: {'proved' if proof.holds else 'NOT PROVED'}"]
    for label, content in (("given", "; ".join(theorem.hypotheses)), ("then", theorem.statement)):
        lines += textwrap.wrap(readable(content), 112, initial_indent=f"  {label:6}", subsequent_indent=" " * 8)
    lines += [f"    {quadrant:{width}}  {says}" for quadrant, says in zip(QUADRANTS, theorem.table, strict=True)]
    lines += [f"  {'ok  ' if step.holds else 'FAIL'}  {step.claim}" for step in proof.steps]
    return "\n".join(lines) + "\n"


def record(theorem: Theorem) -> dict[str, Any]:
    """The theorem and its proof as plain values for JSON."""
    proof = theorem.prove()
    return {
        "name": theorem.name,
        "title": theorem.title,
        "hypotheses": list(theorem.hypotheses),
        "statement": theorem.statement,
        "quadrants": dict(zip(QUADRANTS, theorem.table, strict=True)),
        "steps": [{"claim": step.claim, "holds": step.holds} for step in proof.steps],
        "holds": proof.holds,
    }


def latex(theorems: Iterable[Theorem]) -> str:
    """A complete article with every statement, its table and its proof."""
    return PREAMBLE + "".join(map(_section, theorems)) + "\\end{document}\n"


def readable(mathematics: str) -> str:
    """LaTeX prose as plain text: no dollars, the commonest commands as signs."""
    plain = re.sub(r"\\(?:varphi|phi)", "φ", mathematics)
    plain = re.sub(r"\\d?frac(\d)(\d)", r"\1/\2", plain)
    plain = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"(\1)/(\2)", plain)
    plain = re.sub(r"\\sqrt\{([^{}]*(?:\{[^{}]*\}[^{}]*)*)\}", r"√(\1)", plain)
    plain = re.sub(r"\\mathrm\{(\w+)\}", r"\1", plain)
    for sign, command in sorted(SIGNS.items(), key=lambda pair: -len(pair[1])):
        if command.startswith("\\") and sign not in "½¼":
            plain = re.sub(re.escape(command.strip()) + r"(?![a-z])", sign, plain)
    plain = re.sub(r"\\(?:sum)", "Σ", plain).replace(r"\int", "∫").replace(r"\in", "∈").replace(r"\pm", "±")
    return re.sub(r"\\([a-z]+)", r"\1", re.sub(r"\\[,; ]", " ", plain)).replace("$", "").replace("\\|", "‖")


def _section(theorem: Theorem) -> str:
    rows = " \\\\\n".join(f"{_prose(q)} & {_prose(says)}" for q, says in zip(QUADRANTS, theorem.table, strict=True))
    steps = "\n".join(
        rf"\item {_prose(step.says)}: \[ {_relation(step)} \]" + ("" if step.holds else r" \textbf{not proved}")
        for step in theorem.prove().steps
    )
    return (
        rf"\section*{{{_prose(theorem.name)}. {_prose(theorem.title)}}}" + "\n"
        rf"\noindent Given: {'; '.join(theorem.hypotheses)}." + "\n\n"
        rf"\noindent Then: {theorem.statement}" + "\n\n"
        rf"\medskip\noindent\begin{{tabular}}{{ll}}{rows}\end{{tabular}}" + "\n"
        rf"\begin{{enumerate}}{steps}\end{{enumerate}}" + "\n"
    )


def _relation(step: Any) -> str:
    left, right = sp.latex(step.relation.lhs), sp.latex(step.relation.rhs)
    sign = {"==": "=", ">": ">", "<": "<", ">=": r"\ge", "<=": r"\le"}[step.relation.rel_op]
    if len(left) + len(right) < 150:
        return f"{left} {sign} {right}"
    return rf"\begin{{aligned}} & {left} \\ & \quad {sign} {right} \end{{aligned}}"


def _prose(words: str) -> str:
    """Plain text with mathematical signs as LaTeX: every run that holds such a sign is set as mathematics."""
    return " ".join(_word(word) for word in re.split(r" (?![^{]*\})", words))


def _word(word: str) -> str:
    if not any(sign in word for sign in SIGNS) and not re.search(r"[<>=^|{}+]", word):
        return word
    core = word.rstrip(",:;.")
    return "$" + "".join(SIGNS.get(letter, letter) for letter in core) + "$" + word[len(core) :]
