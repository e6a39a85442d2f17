"""The theorems as HTML with MathML: what is given, what follows, the paper's words, and every step of the proof."""

from typing import Any

from figures.mathml import plain, prose, relation


def theorem_html(proofs: list[dict[str, Any]]) -> str:
    """All theorems of `theory`, those of the paper first and the others folded.

    proofs: which of their steps hold, as `reproduce` stores them.
    """
    from theory import THEOREMS

    held = {proof["theorem"]: {step["claim"]: step["holds"] for step in proof["steps"]} for proof in proofs}
    shown = {theorem: _theorem(theorem, held.get(f"{theorem.name}. {theorem.title}", {})) for theorem in THEOREMS}
    papers = "".join(text for theorem, text in shown.items() if _is_papers(theorem))
    others = [text for theorem, text in shown.items() if not _is_papers(theorem)]
    folded = f"<summary>{len(others)} further statements, on which these rest or which go beyond the paper</summary>"
    return f"{papers}<details>{folded}\n{''.join(others)}</details>\n"


def _theorem(theorem: Any, held: dict[str, bool]) -> str:
    from theory.proof import QUADRANTS

    steps = [(step, held.get(step.claim, False)) for step in theorem.steps]
    proved = bool(steps) and all(holds for _, holds in steps)
    verdict = ("agrees", "✓", "proved") if proved else ("disagrees", "✕", "not proved")
    terms = {
        "Given": prose("; ".join(theorem.hypotheses)),
        "Then": prose(theorem.statement),
        "The paper": prose(theorem.paper),
        "What differs": plain(theorem.differs),
    }
    quadrants = "".join(
        f"<div><small>{plain(name)}</small>{plain(says)}</div>"
        for name, says in sorted(zip(QUADRANTS, theorem.table, strict=True), key=lambda pair: _place(pair[0]))
    )
    listed = "".join(
        f"<li>{plain(step.says)}{relation(step)}{'' if holds else ' (not proved)'}</li>" for step, holds in steps
    )
    name = f"Theorem {theorem.name}" if _is_papers(theorem) else theorem.name[0].upper() + theorem.name[1:]
    mark = f'<span class="badge {verdict[0]}"><span aria-hidden="true">{verdict[1]}</span> {verdict[2]}</span>'
    return (
        f'<article class="theorem"><h3>{plain(name)}. {plain(theorem.title)} {mark}</h3>\n<dl>'
        + "".join(f"<dt>{term}</dt><dd>{text}</dd>" for term, text in terms.items() if text)
        + f'</dl>\n<div class="quadrants">{quadrants}</div>\n'
        f"<details><summary>{len(steps)} steps of the proof</summary><ol>{listed}</ol></details></article>\n"
    )


def _is_papers(theorem: Any) -> bool:
    """Whether the paper numbers the theorem, as 5.1."""
    return bool(theorem.name[0].isdigit())


def _place(quadrant: str) -> tuple[bool, bool]:
    """The order of quadrants as the plane shows them: w > 0 above, a < 0 to the left."""
    return "w < 0" in quadrant, "a > 0" in quadrant
