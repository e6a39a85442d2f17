"""The page of the room: the reparametrization that it adds works, with the methods whose needs it meets."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from sparse_training import reparam
from sparse_training.masks import make_masks
from sparse_training.methods import METHODS, unmet_need
from sparse_training.reparam import REPARAMS, Factors, Reparam, sparsify


def test_the_reparametrization_that_the_page_adds_works() -> None:
    page = (Path(reparam.__file__).parent / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    names = {"dataclass": dataclasses.dataclass, "ClassVar": ClassVar, "Sequence": Sequence, "Tensor": Tensor}
    names |= {"Factors": Factors, "Reparam": Reparam, "REPARAMS": REPARAMS, "__name__": "page"}
    try:
        exec(code, names)
        own = REPARAMS.find("reparam", "three-factors")()
    finally:
        del REPARAMS["three-factors"]
    assert [name for name, method in METHODS.items() if unmet_need(method(), own)] == ["str"]
    sparse = sparsify(model := nn.Linear(4, 4), make_masks(model, 0.5, "random"), own)
    optimizer = torch.optim.SGD(sparse.parameter_groups(0.3), lr=0.1)
    sparse.attach(optimizer)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    assert {round(group["weight_decay"], 9) for group in optimizer.param_groups} == {0.1, 0.3}
    assert not bool(sparse.merge().get_parameter("weight")[~sparse.masks["weight"]].any())


def test_the_table_of_the_page_says_what_the_classes_say() -> None:
    page = (Path(reparam.__file__).parent / "README.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \|.*?\| (yes|no) \| (?:yes|no)", page, flags=re.MULTILINE))
    zero = dict(re.findall(r"^\| `(\w+)` \|.*?\| (?:yes|no) \| (yes|no)", page, flags=re.MULTILINE))
    assert set(rows) == {kind.__name__ for kind in REPARAMS.values()}
    for kind in REPARAMS.values():
        assert (rows[kind.__name__], zero[kind.__name__]) == (
            "yes" if kind.is_chart else "no",
            "yes" if kind.leaves_zero else "no",
        )
