"""Mathematics for the browser: LaTeX as the theorems use it, and SymPy's relations, as MathML."""

import html
import re
from collections.abc import Iterator
from typing import Any

import sympy as sp
from sympy.printing.mathml import MathMLPresentationPrinter

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|[^\W\d_]|\S")
LETTERS = {
    "alpha": "α", "beta": "β", "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "pi": "π", "psi": "ψ",
    "omega": "ω", "varphi": "φ",
}  # fmt: skip
SIGNS = {
    "ge": "≥", "le": "≤", "ne": "≠", "cdot": "·", "partial": "∂", "to": "→", "infty": "∞", "pm": "±", "sum": "∑",
    "int": "∫", "in": "∈", "sim": "∼", "ll": "≪", "gg": "≫", "nabla": "∇", "angle": "∠", "leftarrow": "←", "|": "‖",
}  # fmt: skip
BREAK_BEFORE = (
    "=",
    "<",
    ">",
    "+",
    "-",
    "/",
    r"\cdot",
    *(rf"\{name}" for name in ("ge", "le", "ne", "to", "leftarrow", "ll", "gg")),
)
FUNCTIONS = ("sin", "cos", "sinh", "cosh", "tanh", "ln", "exp")
NO_BREAK = "\u00a0"
BESIDE = re.compile(r" [<>=±] (?=\S)|(?<=\d) %")
RELATIONS = {"==": "=", "<": "<", ">": ">", "<=": "≤", ">=": "≥"}


def prose(text: str) -> str:
    """Text with LaTeX between dollars as HTML."""
    parts = text.split("$")
    return "".join(inline(part) if i % 2 else plain(part) for i, part in enumerate(parts))


def plain(text: str) -> str:
    """Text such as "S_w(w₀) > −β_a" as HTML: the indices of single letters set low, and a minus that is one.

    No line is broken beside the sign of a short relation, nor between a number and what belongs to it.
    """
    whole = BESIDE.sub(lambda found: found[0].replace(" ", NO_BREAK), text)
    low = re.sub(r"(?<![^\W_])([^\W\d_])_(\w+)", r"\1<sub>\2</sub>", html.escape(whole))
    return re.sub(r"(?<![\w.-])-(?=\d)", "−", low)


def command(text: str) -> str:
    """A command line whose words are not broken."""
    return f"<code>{' '.join(f'<span>{html.escape(word)}</span>' for word in text.split())}</code>"


def inline(latex: str) -> str:
    """A formula in LaTeX as MathML: one element for each part after which a line may be broken.

    Raises:
        ValueError: a command that is not known here.
    """
    parts, depth = [""], 0
    for token, atom in _atoms(_Tokens(latex), latex):
        depth += (token in "([") - (token in ")]")
        if depth == 0 and token in BREAK_BEFORE and parts[-1]:
            parts.append("")
        parts[-1] += atom
        if depth == 0 and token == ",":
            parts.append("")
    return "<wbr>".join(f"<math><mrow>{part}</mrow></math>" for part in parts if part)


def relation(step: Any) -> str:
    """The relation of a `theory.proof.Step` as a MathML element in a line of its own."""
    left, right = (_Printer().doprint(side) for side in (step.relation.lhs, step.relation.rhs))
    sign = html.escape(RELATIONS[step.relation.rel_op])
    return f'<math display="block"><mrow>{left}<mo>{sign}</mo>{right}</mrow></math>'


class _Printer(MathMLPresentationPrinter):  # type: ignore[misc]
    """SymPy's printer, with what is substituted written at the foot of a bar."""

    def _print_Subs(self, expr: sp.Subs) -> Any:
        row, low = self.dom.createElement("mrow"), self.dom.createElement("mrow")
        row.appendChild(self._print(expr.expr))
        bar = self.dom.createElement("mo")
        bar.appendChild(self.dom.createTextNode("|"))
        for i, (old, new) in enumerate(zip(expr.variables, expr.point, strict=True)):
            for sign, side in ((", " if i else "", old), ("=", new)):
                if sign:
                    mark = self.dom.createElement("mo")
                    mark.appendChild(self.dom.createTextNode(sign))
                    low.appendChild(mark)
                low.appendChild(self._print(side))
        foot = self.dom.createElement("msub")
        foot.appendChild(bar)
        foot.appendChild(low)
        row.appendChild(foot)
        return row


class _Tokens:
    """The tokens of a formula, of which the next can be seen before it is taken."""

    def __init__(self, latex: str) -> None:
        self.all, self.place = TOKEN.findall(latex), 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.place >= len(self.all):
            raise StopIteration
        self.place += 1
        return str(self.all[self.place - 1])

    @property
    def following(self) -> str:
        return self.all[self.place] if self.place < len(self.all) else ""


def _row(tokens: "_Tokens", latex: str, until: str = "") -> str:
    """Atoms up to a closing brace or the end, as one <mrow>."""
    return f"<mrow>{''.join(atom for _, atom in _atoms(tokens, latex, until))}</mrow>"


def _atoms(tokens: "_Tokens", latex: str, until: str = "") -> Iterator[tuple[str, str]]:
    """Each atom's token and its MathML with indices and exponents, up to a closing brace or the end."""
    for token in tokens:
        if token == until:
            return
        atom = _atom(token, tokens, latex)
        low = high = ""
        while tokens.following in ("_", "^", "'"):
            mark = next(tokens)
            if mark == "'":
                high += "<mo>′</mo>"
            elif mark == "_":
                low = _atom(*_next(tokens), latex)
            else:
                high += _atom(*_next(tokens), latex)
        yield token, _scripts(atom, low, high)


def _scripts(atom: str, low: str, high: str) -> str:
    high = f"<mrow>{high}</mrow>"
    if low and high != "<mrow></mrow>":
        return f"<msubsup>{atom}{low}{high}</msubsup>"
    if low:
        return f"<msub>{atom}{low}</msub>"
    return f"<msup>{atom}{high}</msup>" if high != "<mrow></mrow>" else atom


def _atom(token: str, tokens: "_Tokens", latex: str) -> str:
    if token == "{":
        return _row(tokens, latex, "}")
    name = token.removeprefix("\\")
    if token == name:
        return f"<mn>{token}</mn>" if token[0].isdigit() else _letter(token)
    if name in LETTERS:
        return f"<mi>{LETTERS[name]}</mi>"
    if name in SIGNS:
        return f'<mo stretchy="false">{SIGNS[name]}</mo>'
    if name in FUNCTIONS:
        return f"<mi>{name}</mi><mo>&ApplyFunction;</mo>"
    if name in (",", ";", " "):
        return '<mspace width=".17em"/>'
    if name == "frac":
        return f"<mfrac>{_atom(*_next(tokens), latex)}{_atom(*_next(tokens), latex)}</mfrac>"
    if name == "sqrt":
        return f"<msqrt>{_atom(*_next(tokens), latex)}</msqrt>"
    if name == "dot":
        return f"<mover>{_atom(*_next(tokens), latex)}<mo>˙</mo></mover>"
    if name == "mathrm":
        next(tokens)
        return f"<mi>{''.join(iter(tokens.__next__, '}'))}</mi>"
    raise ValueError(f"{token} in {latex!r} is not known")


def _next(tokens: "_Tokens") -> tuple[str, "_Tokens"]:
    token = next(tokens)
    if len(token) > 1 and token.isdigit():  # \frac12
        tokens.all[tokens.place - 1 : tokens.place] = list(token)
        token = token[0]
    return token, tokens


def _letter(token: str) -> str:
    if token.isalpha():
        return f"<mi>{token}</mi>"
    still = ' stretchy="false"' if token in "()[]|" else ""
    return f"<mo{still}>{html.escape(token.replace('-', '−'))}</mo>"
