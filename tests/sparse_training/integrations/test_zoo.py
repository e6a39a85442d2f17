"""Networks of every kind: trained on their masks under every reparametrization, merged, saved, loaded and measured."""

from pathlib import Path

import pytest
import torch
from fixtures import zoo
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparse_training import load_network, make_masks, max_eigenvalue, prunable, save_network, sparsify
from sparse_training.reparam import REPARAMS, Reparam, Sparse

pytestmark = [
    pytest.mark.filterwarnings("default"),
    pytest.mark.filterwarnings("ignore::sparse_training.masks.PassedOver"),
]
KINDS = [
    pytest.param(name, marks=[pytest.mark.slow, pytest.mark.skipif(not zoo.TRANSFORMERS, reason="no transformers")])
    if name in zoo.OF_TRANSFORMERS
    else name
    for name in zoo.NAMES
]
REPARAMETRIZED = {"none": None, **{name: kind() for name, kind in REPARAMS.items()}}


def optimizers(sparse: Sparse, kind: str) -> list[torch.optim.Optimizer]:
    """AdamW, or Muon for matrices of two axes and AdamW for the rest."""
    groups = sparse.parameter_groups(1e-2)
    if kind == "adamw":
        return [torch.optim.AdamW(groups, lr=1e-2)]
    flat = [{**group, "params": [p for p in group["params"] if p.ndim == 2]} for group in groups]
    rest = [{**group, "params": [p for p in group["params"] if p.ndim != 2]} for group in groups]
    found = ((torch.optim.Muon, flat), (torch.optim.AdamW, rest))
    return [each([g for g in own if g["params"]], lr=1e-2) for each, own in found if any(g["params"] for g in own)]


def trained(name: str, reparam: Reparam | None, optimizer: str) -> tuple[nn.Module, Sparse]:
    model = zoo.network(name)
    sparse = sparsify(model, make_masks(model, 0.3, "magnitude", "uniform"), reparam)
    steppers = optimizers(sparse, optimizer)
    for stepper in steppers:
        if any(id(p) in {id(q) for g in stepper.param_groups for q in g["params"]} for p in held(sparse)):
            sparse.attach(stepper)
    for step in range(5):
        model.zero_grad()
        zoo.loss(model, zoo.batch(name, step)).backward()
        for stepper in steppers:
            stepper.step()
    return model, sparse


def held(sparse: Sparse) -> list[Tensor]:
    return [parameter for layer in sparse.layers for parameter in layer.parameters]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("reparam", REPARAMETRIZED)
@pytest.mark.parametrize("name", KINDS)
def test_it_trains_on_its_masks_and_merges_to_the_same_bits(
    name: str, reparam: str, optimizer: str, tmp_path: Path
) -> None:
    model, sparse = trained(name, REPARAMETRIZED[reparam], optimizer)
    for layer in sparse.layers:
        assert not any(bool(tensor[~layer.mask].any()) for tensor in (layer.theta, *layer.parameters))
    given, plain = zoo.batch(name, 9), sparse.merge()
    expected = zoo.outputs(model.eval(), given)
    assert torch.equal(zoo.outputs(plain.eval(), given), expected)
    if hasattr(plain, "save_pretrained"):
        plain.save_pretrained(tmp_path)
        loaded = type(plain).from_pretrained(tmp_path)
    else:
        save_network(tmp_path / "network.safetensors", sparse.state_dict(), sparse.masks)
        loaded = zoo.network(name)
        loaded.load_state_dict(load_network(tmp_path / "network.safetensors").state)
    assert torch.equal(zoo.outputs(loaded.eval(), given), expected)
    fresh = zoo.network(name)
    assert list(plain.state_dict()) == list(fresh.state_dict())
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in fresh.parameters())


class Logits(nn.Module):
    """A network from the first of its inputs to its logits."""

    def __init__(self, network: nn.Module, given: dict[str, Tensor]) -> None:
        super().__init__()
        self.network, self.argument = network, next(iter(given))
        self.decoded = given["labels"][:1] if "decoder" in dict(network.named_children()) else None

    def forward(self, x: Tensor) -> Tensor:
        start = {} if self.decoded is None else {"decoder_input_ids": self.decoded.expand(len(x), -1)}
        return zoo.outputs(self.network, {self.argument: x, **start})


@pytest.mark.parametrize("name", KINDS)
def test_lambda_max_is_that_of_the_dense_hessian(name: str) -> None:
    given = zoo.batch(name)
    x, y = (value[:2] for value in given.values())
    model = Logits(zoo.network(name).double(), {key: value[:2] for key, value in given.items()}).eval()
    x = x.double() if x.is_floating_point() else x
    names = list(prunable(model))[-2:] + (["network.transformer.wte.weight"] if name == "gpt2" else [])
    masks = make_masks(model, 0.15, "magnitude", "uniform", include=list(dict.fromkeys(names)))
    sparsify(model, masks)
    active = {key: mask.nonzero(as_tuple=True) for key, mask in masks.items()}

    def loss(theta: Tensor) -> Tensor:
        state, parts = {}, theta.split([int(mask.sum()) for mask in masks.values()])
        for (key, where), part in zip(active.items(), parts, strict=True):
            state[key] = torch.zeros_like(masks[key], dtype=theta.dtype).index_put(where, part)
        found = torch.func.functional_call(model, state, (x,))
        return nn.functional.cross_entropy(found.movedim(-1, 1) if name not in ("unet", "vit", "mixture") else found, y)

    theta = torch.cat([model.get_parameter(key).detach()[where] for key, where in active.items()])
    with sdpa_kernel(SDPBackend.MATH):
        expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, theta))[-1]
    pair = max_eigenvalue(model, nn.functional.cross_entropy, (x, y), masks, params=list(masks), tol=1e-6)
    assert pair.value == pytest.approx(float(expected), rel=1e-5)
