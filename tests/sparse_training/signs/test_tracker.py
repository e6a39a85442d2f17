"""Signs recorded while networks train equal a count on float32 weights kept beside them, and the command shows them."""

import csv
import importlib

import pytest
import torch

from commons import InputError
from sparse_training.__main__ import parser
from sparse_training.masks import make_masks, prunable
from sparse_training.models import build
from sparse_training.reparam import SignIn, sparsify
from sparse_training.runs.checkpoint import save_network
from sparse_training.runs.config import Config
from sparse_training.runs.run import Run
from sparse_training.signs import SignTracker, flip_table, flips_by_layer, history_of
from sparse_training.training.loop import train

TIED = '''
import torch


class Tied(torch.nn.Module):
    """A network whose output layer has the weight of its embedding."""

    def __init__(self):
        super().__init__()
        self.embed, self.hidden = torch.nn.Embedding(7, 4), torch.nn.Linear(4, 4)
        self.head = torch.nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight
'''
SMALL = ["epochs=6", "batch_size=256", "mask.density=0.2", "optimizer.lr=0.2", "engine.threads=1"]


def trained(folder, *settings):
    train(Config.preset("digits-mlp").with_set([*SMALL, *settings]), folder)
    return Run(folder)


@pytest.mark.parametrize(
    "settings",
    [
        ("mask.density=1",),
        ("reparam=sign-in",),
        ("method=rigl", "method.every=4"),
        ("method=acdc", "reparam=sign-in"),
        ("method=str", "method.initial=-5"),
    ],
    ids=["dense", "static sign-in", "rigl", "acdc sign-in", "str"],
)
def test_recorded_flips_equal_a_count_on_the_weights(settings, tmp_path):
    run = trained(tmp_path, *settings)
    kept = {epoch: (run.weights(epoch), run.masks(epoch)) for epoch in run.epochs}
    rows = {(row.layer, row.epoch): row for row in flip_table(history_of(tmp_path)).rows}
    assert {epoch for _, epoch in rows} == set(kept) == set(range(7))
    flips = 0
    for (name, epoch), row in rows.items():
        theta, mask = kept[epoch][0][name], kept[epoch][1][name]
        first, first_mask = kept[0][0][name], kept[0][1][name]
        both = mask & first_mask
        assert row.since_init.active == int(both.sum())
        assert row.since_init.flipped == int((both & (theta * first < 0)).sum())
        assert row.zero == int((mask & (theta == 0)).sum())
        if epoch:
            before, before_mask = kept[epoch - 1][0][name], kept[epoch - 1][1][name]
            direct = int((mask & before_mask & (theta * before < 0)).sum())
            through_zero = int((mask & before_mask & (before == 0)).sum())
            assert direct <= row.flipped <= direct + through_zero
            flips += row.flipped
    assert flips > 0


def test_a_history_packed_from_saved_networks_is_the_one_recorded(tmp_path):
    trained(tmp_path, "method=rigl", "method.every=4", "reparam=sign-in")
    recorded = (tmp_path / "signs.bin").read_bytes()
    (tmp_path / "signs.bin").unlink()
    history_of(tmp_path)
    assert (tmp_path / "signs-packed.bin").read_bytes() == recorded


def test_signs_are_recorded_also_where_networks_are_not_saved(tmp_path):
    run = trained(tmp_path, "checkpoint.every=6")
    assert run.epochs == [0, 6]
    assert history_of(tmp_path).epochs == list(range(7))


@pytest.mark.parametrize("reparam", [None, SignIn()], ids=["plain", "sign-in"])
def test_a_tracker_follows_a_loop_of_ones_own(reparam, tmp_path):
    model = build("mlp", in_channels=1, image_size=4, num_classes=3)
    masks = make_masks(model, 0.3, "random", "erk")
    sparse = sparsify(model, masks, reparam)
    tracker = SignTracker(sparse, tmp_path / "signs.bin")
    tracker.record(0)
    before = {name: weight.clone() for name, weight in sparse.weights().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 1, 4, 4)).square().sum().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        sparse.after_step(optimizer)
    tracker.record(1)
    counts = flips_by_layer(before, sparse.weights(), masks)
    found = {row.layer: row.since_init for row in flip_table(tracker.history).rows if row.epoch == 1}
    assert found == counts
    assert sum(count.flipped for count in counts.values()) > 0


def test_a_tracker_takes_any_module_and_a_fixed_mask(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    mask = {"0.weight": torch.eye(3, 4, dtype=torch.bool)}
    tracker = SignTracker(model, tmp_path / "signs.bin", mask)
    tracker.record(0)
    assert torch.equal(tracker.history.masks(0)["0.weight"], mask["0.weight"])
    assert torch.equal(tracker.history.signs(0)["2.weight"], torch.sign(model[2].weight).to(torch.int8))


def test_the_command_prints_layers_from_input_to_output_and_writes_all_epochs(tmp_path, capsys):
    trained(tmp_path / "a", "reparam=sign-in")
    trained(tmp_path / "b", "seed=1")
    assert parser().execute(["signs", str(tmp_path / "a"), "--against", str(tmp_path / "b"), "--settled", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["fc1.weight", "fc2.weight", "fc3.weight", "total"]
    assert "settled (5 %)" in lines[0]
    with (tmp_path / "a" / "signs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * 7
    a, b = Run(tmp_path / "a"), Run(tmp_path / "b")
    expected = flips_by_layer(a.weights(), b.weights(), a.masks(), b.masks())["fc2.weight"].agreement
    last = next(row for row in rows if (row["layer"], row["epoch"]) == ("fc2.weight", "6"))
    assert float(last["agreement"]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["nowhere"], "the folder of a run"), ([".", "--settled", "0"], "settled=0.0"), (["."], "the folder of a run")],
)
def test_mistakes_get_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        parser().execute(["signs", *arguments])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert error.count("\n") == 1
    assert message in error


def test_exactly_the_share_that_still_flips_is_not_fewer(tmp_path):
    model = torch.nn.Linear(4, 1)
    tracker = SignTracker(model, tmp_path / "signs.bin")
    for epoch, signs in enumerate([(1, 1, 1, 1), (-1, 1, 1, 1), (-1, -1, 1, 1), (-1, -1, 1, 1)]):
        model.weight.data.copy_(torch.tensor([signs]))
        tracker.record(epoch)
    table = flip_table(tracker.history)
    assert [table.settling(share) for share in (0.2, 0.25, 0.3, 0.5, 0.6)] == [2, 2, 1, 1, 0]


def test_two_checkpoints_of_any_kind_are_compared_by_layer(tmp_path, monkeypatch, capsys):
    """One as torch.save wrote it, with one name of a tied weight, and one of this package, with its masks."""
    (tmp_path / "tied_network.py").write_text(TIED)
    monkeypatch.syspath_prepend(tmp_path)
    kind = importlib.import_module("tied_network").Tied
    torch.manual_seed(0)
    before, after = kind(), kind()
    masks = make_masks(after, 0.5, "random", "uniform")
    state = before.state_dict()
    del state["head.weight"]
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "a.pt")
    sparse = sparsify(after, masks)
    save_network(tmp_path / "b.safetensors", sparse.state_dict(), masks)
    paths = [str(tmp_path / "a.pt"), str(tmp_path / "b.safetensors")]
    assert (
        parser().execute(["signs", *paths, "--model", "tied_network:Tied", "--out", str(tmp_path / "signs.csv")]) == 0
    )
    assert "flipped %" in capsys.readouterr().out
    with (tmp_path / "signs.csv").open() as file:
        rows = {row["layer"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["embed.weight", "hidden.weight", "total"]
    expected = flips_by_layer(prunable(before), sparse.weights(), masks)
    for name, counts in expected.items():
        assert int(rows[name]["active"]) == counts.active == int(masks[name].sum())
        assert float(rows[name]["flipped %"]) == pytest.approx(100 * counts.flipped_share)
    assert parser().execute(["signs", paths[1], paths[1]]) == 0
    assert "head.weight" in capsys.readouterr().out


def test_the_folder_of_a_history_is_made_or_refused_in_one_line(tmp_path):
    tracker = SignTracker(torch.nn.Linear(3, 2), tmp_path / "new" / "signs.bin")
    tracker.record(0)
    assert tracker.history.epochs == [0]
    with pytest.raises(InputError, match=r"^path=.*cannot be written to"):
        SignTracker(torch.nn.Linear(3, 2), tmp_path / "new" / "signs.bin" / "inside.bin")
