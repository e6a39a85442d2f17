import pytest

from commons import cli, refuse
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


def two_commands() -> Parser:
    root = Parser(prog="tool")
    commands = root.add_subparsers(metavar="COMMAND", required=True)
    train = commands.add_parser("train")
    train.add_argument("--epochs", type=int)
    train.set_defaults(run=lambda args: 0)
    move = commands.add_parser("move")
    move.add_argument("--set", nargs="+")
    move.add_argument("--density", type=float, default=0.5)
    move.add_argument("--out", required=True)
    source = move.add_mutually_exclusive_group(required=True)
    source.add_argument("--source")
    source.add_argument("--method")
    move.set_defaults(run=lambda args: 0)
    return root


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["move", "--method", "a", "--out", "x", "--epochs", "2"], "unknown argument --epochs"),
        (["move", "--method", "a", "--epochs", "2"], "unknown argument --epochs; --out is missing"),
        (
            ["move", "--out", "x", "--densty", "2"],
            "unknown argument --densty; did you mean --density?; --source or --method is missing",
        ),
        (["move", "--method", "a", "--density", "x"], "argument --density: invalid float value: 'x'; --out is missing"),
        (["move", "--method", "a"], "--out is missing"),
        (["move", "--method", "a", "--out", "x", "-k"], "unknown argument -k"),
        (
            ["move", "--method", "a", "--out", "x", "--density", "10%"],
            "argument --density: invalid float value: '10%'; did you mean 0.1?",
        ),
        (["train", "--out=x"], "unknown argument --out"),
        (["--verson"], "unknown argument --verson"),
        ([], "COMMAND is missing"),
    ],
)  # fmt: skip
def test_one_line_tells_what_is_unknown_and_what_is_missing(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        two_commands().execute(argv)
    assert stop.value.code == 2
    assert capsys.readouterr().err.removesuffix("\n").split(": ", 1)[1] == told


def test_values_that_begin_with_a_dash_and_help_are_left_to_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        two_commands().execute(["move", "--method", "a b", "--out=-x", "--density", "-.5", "--set", "-1", "a=-1"]) == 0
    )
    with pytest.raises(SystemExit) as stop:
        two_commands().execute(["move", "--hlp", "--help"])
    assert stop.value.code == 0
    assert "--density" in capsys.readouterr().out


def test_a_command_that_returns_nothing_succeeds() -> None:
    assert parser().execute(["draw", "--grid", "4"]) == 0


def test_a_fault_of_ours_keeps_its_traceback() -> None:
    root = Parser(prog="tool")
    root.set_defaults(run=lambda args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        root.execute([])


def test_without_a_terminal_progress_is_lines_that_are_a_minute_apart(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LINE_SECONDS", 0)
    with cli.progress() as bar:
        task = bar.add_task("runs", total=4)
        bar.update(task, completed=1)
    assert "runs: 1/4" in capsys.readouterr().err
    monkeypatch.setattr(cli, "LINE_SECONDS", 60)
    with cli.progress() as bar:
        bar.update(bar.add_task("runs", total=4), completed=1)
    assert capsys.readouterr().err == ""


def test_a_command_says_what_it_wrote_and_what_looks_at_it(capsys: pytest.CaptureFixture[str]) -> None:
    cli.wrote("a file", "b", then=("figures", "phase", "a file"))
    assert capsys.readouterr().out == "wrote a file, b\nnext  python -m figures phase 'a file'\n"


def test_a_command_that_wrote_nothing_says_only_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    cli.wrote(then=("sparse_training", "train"))
    assert capsys.readouterr().out == "next  python -m sparse_training train\n"


def test_counting_tells_how_many_of_how_many(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "LINE_SECONDS", 0)
    with cli.counting("starts") as count:
        count(3, 8)
    assert "starts: 3/8" in capsys.readouterr().err
