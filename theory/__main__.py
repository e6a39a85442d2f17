"""python -m theory: prove every statement, print it, and exit with status 1 if one fails.

It imports SymPy only once there is something to prove.
"""

import argparse
import json
import sys
from pathlib import Path

from commons import choice
from commons.cli import Parser, counting, wrote
from commons.files import output_file, write_text


def prove(args: argparse.Namespace) -> int:
    """Prove the chosen theorems and show them."""
    from theory.document import latex, record, text
    from theory.proof import Theorem
    from theory.theorems import THEOREMS

    chosen: tuple[Theorem, ...] = THEOREMS
    if args.theorem:
        name = choice("--theorem", args.theorem, [theorem.name for theorem in THEOREMS])
        chosen = tuple(theorem for theorem in THEOREMS if theorem.name == name)
    if args.table:
        print(flows_table())
        return 0
    with counting("proving") as count:
        for done, theorem in enumerate(chosen, start=1):
            theorem.prove()
            count(done, len(chosen))
    if args.json:
        print(json.dumps([record(theorem) for theorem in chosen], indent=1, ensure_ascii=False))
    else:
        for theorem in chosen:
            print(text(theorem))
        proved = sum(theorem.prove().holds for theorem in chosen)
        print(f"{proved} of {len(chosen)} proved")
        if not args.theorem:
            print(f"\n{flows_table()}")
    if args.latex:
        write_text(output_file("--latex", args.latex), latex(chosen))
        if not args.json:
            wrote(args.latex)
    return 0 if all(theorem.prove().holds for theorem in chosen) else 1


def flows_table() -> str:
    """All flows in one table, as text."""
    from commons.tables import aligned
    from theory.table import table

    return aligned(table())


TEXT = "Prove the theorems about the single neuron, step by step."


def add_options(parser: Parser) -> None:
    """Add what this command takes."""
    parser.add_argument("--theorem", metavar="NAME", help="only this one, such as 5.2 (all)")
    parser.add_argument("--table", action="store_true", help="only the table of all flows: metric, basin, share")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.add_argument("--latex", metavar="FILE", type=Path, help="also write an article that pdflatex compiles")
    parser.set_defaults(run=prove)


def main() -> int:
    """Parse the command line and run it."""
    parser = Parser(prog="python -m theory", description=TEXT)
    add_options(parser)
    return parser.execute()


if __name__ == "__main__":
    sys.exit(main())
