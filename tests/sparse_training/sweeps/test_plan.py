"""A sweep file becomes the runs that it names, in rounds of seeds, at addresses that only what matters can change."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from commons import InputError
from sparse_training.runs.config import Config
from sparse_training.sweeps import Sweep, load_plan
from sparse_training.sweeps.addresses import address, changed, data_digest

Write = Callable[..., Path]


def test_arms_are_crossed_with_the_grid_and_their_own(sweep_file: Write) -> None:
    text = """
    seeds = [3, 1]
    [base]
    mask.density = 0.5
    [grid]
    "optimizer.lr" = [0.1, 0.2]
    [arms]
    plain = {}
    "Sign-In" = { "mask.density" = 0.1, reparam.name = "sign-in", grid = { reparam.beta = [0.5, [1.0, 2.0]] } }
    """
    plan = load_plan(sweep_file(text), ["epochs=3"])
    assert [treatment.label for treatment in plan.treatments] == [
        "plain (optimizer.lr=0.1)",
        "plain (optimizer.lr=0.2)",
        *(f"Sign-In (optimizer.lr={lr}, reparam.beta={beta})" for lr in (0.1, 0.2) for beta in (0.5, [1.0, 2.0])),
    ]
    last = plan.treatments[-1].config
    assert (last.epochs, last.mask.density, last.optimizer.lr) == (3, 0.1, 0.2)
    assert last.reparam.beta == (1.0, 2.0)
    assert plan.seeds == (3, 1)


def test_several_presets_are_crossed_with_the_arms(sweep_file: Write, tmp_path: Path) -> None:
    (tmp_path / "wide.toml").write_text('model = "cnn"\nepochs = 7\n')
    plan = load_plan(sweep_file('preset = ["digits-mlp", "wide.toml"]\n[arms]\na = {}\nb = {epochs = 2}'))
    found = [
        (treatment.arm, treatment.point["preset"], treatment.config.model, treatment.config.epochs)
        for treatment in plan.treatments
    ]
    assert found[:2] == [("a", "digits-mlp", "mlp", 30), ("b", "digits-mlp", "mlp", 2)]
    assert found[2:] == [("a", "wide", "cnn", 7), ("b", "wide", "cnn", 2)]


def test_data_are_where_the_command_line_says(sweep_file: Write) -> None:
    """In the place of Python's own sources comes the text of the user."""
    for preset, name in (("text-gpt", "text"), ("cifar10-resnet20", "cifar10")):
        file = sweep_file(f'preset = "{preset}"\n[arms]\na = {{}}\nb = {{ epochs = 3 }}\n')
        for root, expected in (("there", name), ("", "python-text" if name == "text" else name)):
            found = {(each.config.data.name, each.config.data.root) for each in load_plan(file, root=root).treatments}
            assert found == {(expected, root)}


def test_all_cells_of_a_seed_come_before_the_next_seed(sweep: Callable[..., Sweep]) -> None:
    assert [job.seed for job in sweep().jobs] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sedes = 3", "unknown key sedes .* did you mean seeds?"),
        ("seeds = 0", "seeds=0"),
        ("seeds = [1, 1]", "seeds="),
        ("seeds = [1, 1.0]", "seeds="),
        ("[arms]\na = {reparam = 'sign-im'}", "arm 'a': .*did you mean sign-in?"),
        ("[arms]\na = {optimizer.lrr = 1}", "arm 'a': unknown setting optimizer.lrr; did you mean lr?"),
        ("against = 'plian'\n[arms]\nplain = {}", "did you mean plain?"),
        ("[grid]\n'optimizer.lr' = 0.1", "grid.optimizer.lr=0.1 is not a list"),
        ("[grid]\n'optimizer.lr' = [0.1, 0.1]", "twice"),
        ("preset = 'digits-mpl'", "did you mean digits-mlp?"),
        ("preset = 'nowhere.toml'", "nowhere.toml.* cannot be read"),
        ("seeds = 1\nseeds = 2", "is not TOML"),
        ("[arms]\na = {}\nb = {from = 'c'}", "arms.b.from='c' is not one of a"),
        ("[arms]\na = {}\nb = {from = 'a', start = 'signs=run:x'}", "arms.b.start="),
        ("[arms]\na = {}\nb = {from = 'a', start = 'sings=final'}", "did you mean signs?"),
        ("[columns]\na = '__import__(\"os\")'", "columns.a="),
    ],
)
def test_mistakes_are_told_in_one_line(sweep_file: Write, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_plan(sweep_file(text))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "[base]\nmodel = 'evil:run'",
        "[base]\nmethod.name = 'evil:run'",
        "[arms]\na = {'mask.score' = 'evil.module:run.it'}",
        "[grid]\nreparam = ['none', 'evil:run']",
        "preset = 'own.toml'",
    ],
)
def test_code_that_a_file_names_is_imported_only_if_trusted(
    sweep_file: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()\nrun = print\n")
    (tmp_path / "own.toml").write_text("data.name = 'evil:run'")
    with pytest.raises(InputError, match="pass --trust"):
        load_plan(sweep_file(text))
    assert not (tmp_path / "ran").exists()


def test_a_density_of_two_in_four_is_no_code(sweep_file: Write) -> None:
    plan = load_plan(sweep_file("[base.mask]\ndensity = 0.5\ndistribution = '2:4'"))
    assert plan.treatments[0].config.mask.distribution == "2:4"


@pytest.mark.parametrize(
    ("setting", "same"),
    [
        ("data.root=elsewhere", True),
        ("data.workers=3", True),
        ("engine.device=cuda", True),
        ("engine.threads=2", True),
        ("engine.graphs=true", True),
        ("checkpoint.every=9", True),
        ("tensorboard=true", True),
        ("source=hearsay", True),
        ("seed=1", False),
        ("engine.precision=bfloat16", False),
        ("engine.compile=true", False),
        ("optimizer.lr=0.3", False),
        ("reparam=sign-in", False),
        ("data.augment=false", False),
        ("mask.density=0.2", False),
    ],
)
def test_an_address_depends_on_what_is_computed_and_not_on_where(setting: str, same: bool) -> None:
    config = Config.preset("digits-mlp").with_set(["mask.density=0.1"])
    assert (address(config.with_set([setting]), "d") == address(config, "d")) is same
    assert address(config, "other data") != address(config, "d")


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    files = [tmp_path / name for name in "abc"]
    for file, content in zip(files, (b"one", b"one", b"two"), strict=True):
        file.write_bytes(content)
    for field in ("start", "mask.file"):
        one, same, other = (address(Config().with_set([f'{field}="{file}"']), "d") for file in files)
        assert one == same != other


@pytest.mark.parametrize("settings", [[], ["method=acdc", "reparam=sign-in", "reparam.beta=[0.5, 2.0]", "epochs=3"]])
def test_what_differs_from_the_defaults_gives_the_configuration_back(settings: list[str]) -> None:
    config = Config().with_set(settings)
    assert Config.from_tree(changed(config)) == config


def test_the_digest_of_data_is_that_of_the_images_and_not_of_the_settings() -> None:
    settings = Config().data
    assert data_digest(settings) == data_digest(replace(settings, augment=False, workers=2))
