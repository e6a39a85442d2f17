import pytest

from commons import refuse
from commons.cli import Parser


def parser() -> Parser:
    root = Parser(prog="tool")
    draw = root.add_subparsers(dest="command", required=True).add_parser("draw")
    draw.add_argument("--force", action="store_true")
    draw.add_argument("--grid", type=int, default=3)
    draw.set_defaults(run=lambda args: refuse("grid", args.grid, "even") if args.grid % 2 else 0)
    return root


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["drow"], "drow"),
        (["draw", "--forse"], "did you mean --force?"),
        (["draw", "--grid", "x"], "--grid"),
        (["draw", "--grid", "3"], "grid=3 is not even"),
        ([], "command"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_status_2(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parser().execute(argv)
    out, err = capsys.readouterr()
    assert stop.value.code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert told in err


def test_a_command_that_returns_nothing_succeeds() -> None:
    assert parser().execute(["draw", "--grid", "4"]) == 0


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    root = Parser(prog="tool")
    root.set_defaults(run=lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        root.execute([])
