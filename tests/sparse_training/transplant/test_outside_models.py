"""Networks that this package has never seen go through train, signs and transplant."""

import importlib.util

import pytest

from sparse_training.__main__ import parser
from sparse_training.runs.run import Run
from sparse_training.sweeps.job import Ending, perform
from sparse_training.transplant import Cell
from sparse_training.transplant.experiment import run_cells
from sparse_training.transplant.plan import sweep_of
from sparse_training.transplant.sources import given

OWN = '''
import torch
from torch import nn


class Attention(nn.Module):
    """A branch, an attention, a buffer, and a parameter that is no weight."""

    def __init__(self, num_classes):
        super().__init__()
        self.embed = nn.Conv2d(1, 16, 2, stride=2)
        self.position = nn.Parameter(torch.randn(16, 16) * 0.02)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.BatchNorm1d(16)
        self.head = nn.Linear(16, num_classes)

    def forward(self, x):
        tokens = self.embed(x).flatten(2).transpose(1, 2) + self.position
        tokens = tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return self.head(self.norm(tokens.mean(1)))


def network(num_classes):
    return Attention(num_classes)
'''

TRANSFORMER = """
import torch
from transformers import ViTConfig, ViTForImageClassification


class Logits(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(pixel_values=x).logits


def network(in_channels, image_size, num_classes):
    settings = ViTConfig(
        image_size=image_size, patch_size=4, num_channels=in_channels, num_labels=num_classes,
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
    )
    return Logits(ViTForImageClassification(settings))
"""


def go_through(name, source, tmp_path, monkeypatch, capsys):
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    common = ["--preset", "digits-mlp", "--density", "0.2"]
    settings = [f"model={name}:network", "epochs=2", "batch_size=256", "reparam=sign-in", "engine.threads=1"]
    out = str(tmp_path / "run")
    assert parser().execute(["train", *common, "--method", "acdc", "--set", *settings, "--out", out]) == 0
    assert parser().execute(["signs", out]) == 0
    printed = capsys.readouterr().out
    run = Run(out, trust=True)
    assert all(name in printed for name in run.masks())
    sources, cells = given([out], trust=[f"{name}:network"]), [Cell(signs="epoch:1")]
    (job,) = sweep_of(sources, cells, tmp_path / "cells").jobs
    assert perform(job) == (Ending.DONE, "")
    (_, row) = run_cells(sources, cells, tmp_path / "cells")
    assert row["density"] == run.masks().density
    return run


def test_a_network_of_the_users_own(tmp_path, monkeypatch, capsys):
    run = go_through("outside_network", OWN, tmp_path, monkeypatch, capsys)
    assert list(run.masks()) == ["embed.weight", "attend.in_proj_weight", "attend.out_proj.weight", "head.weight"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
@pytest.mark.filterwarnings("default")
def test_a_vision_transformer_from_a_configuration(tmp_path, monkeypatch, capsys):
    run = go_through("outside_transformer", TRANSFORMER, tmp_path, monkeypatch, capsys)
    assert sum("attention" in name for name in run.masks()) == 8
