"""Every matrix of a network, whatever its class: tied, recurrent, stacked, stored transposed, frozen, or lazy."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import SignIn, make_masks, max_eigenvalue, prunable, sparsify
from sparse_training.masks import MATRICES, Matrix, PassedOver
from sparse_training.methods import STR, Start
from sparse_training.reparam import REPARAMS, SCALINGS, SparseOpt

VOCABULARY, WIDTH = 11, 6


class Stack(nn.Module):
    """Two experts, mixed by a router; the stack is stored as (experts, inputs, outputs)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, 2)
        self.kernel = nn.Parameter(torch.randn(2, width, width) / width**0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.einsum("bte,eio,bti->bto", self.router(x).softmax(-1), self.kernel, x)


class Tied(nn.Module):
    """A language model of an LSTM and two experts, whose output layer has the weight of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True)
        self.attend = nn.MultiheadAttention(WIDTH, 2, kdim=WIDTH, vdim=WIDTH + 1, batch_first=True)
        self.wide = nn.Linear(WIDTH, WIDTH + 1)
        self.experts = Stack(WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.lstm(self.embed(ids))[0]
        x = x + self.attend(x, x, self.wide(x), need_weights=False)[0]
        return self.head(self.experts(x))


@pytest.fixture(autouse=True)
def known_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sparse_training.masks.matrices.MATRICES", [*MATRICES, Matrix(Stack, "kernel", "eio")])


def network(dtype: torch.dtype = torch.float64) -> Tied:
    torch.manual_seed(0)
    return Tied().to(dtype)


def tokens(seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return torch.randint(VOCABULARY, (4, 5), generator=rng), torch.randint(VOCABULARY, (4, 5), generator=rng)


def token_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    ids, targets = batch
    return cross_entropy(model(ids).flatten(0, 1), targets.flatten())


def test_every_matrix_is_found_once_under_the_name_of_named_parameters() -> None:
    names = list(prunable(network()))
    assert names[0] == "embed.weight"
    assert "head.weight" not in names
    assert {"lstm.weight_ih_l0", "lstm.weight_hh_l1", "attend.q_proj_weight", "attend.v_proj_weight"} <= set(names)
    assert {"attend.out_proj.weight", "experts.router.weight", "experts.kernel"} <= set(names)
    assert not any("bias" in name for name in names)
    order = [name for name, _ in network().named_parameters()]
    assert names == [name for name in order if name in names]


def test_a_shared_weight_answers_to_each_of_its_names() -> None:
    assert "embed.weight" not in prunable(network(), exclude=["head"])
    assert list(prunable(network(), include=["head"])) == ["embed.weight"]


def test_an_embedding_and_any_other_parameter_are_opted_in() -> None:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    with pytest.warns(PassedOver, match="not pruned: 0.weight"):
        assert list(make_masks(model, 0.5, "random")) == ["1.weight"]
    assert list(prunable(model, include=["*", "0"])) == ["0.weight", "1.weight"]
    assert list(prunable(model, include=["2.bias"])) == ["2.bias"]
    with pytest.raises(InputError, match=r"did you mean 0\.weight"):
        prunable(model, include=["0.wieght"])


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_are_known(kind: type[nn.Module]) -> None:
    assert list(prunable(kind(3, 4))) == ["weight_ih", "weight_hh"]


def test_a_pattern_counts_along_the_inputs_of_each_matrix() -> None:
    class Transposed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 3))

    matrices = [Matrix(Transposed, "weight", "io"), *MATRICES]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sparse_training.masks.matrices.MATRICES", matrices)
        masks = make_masks(nn.Sequential(Transposed(), nn.ConvTranspose1d(8, 3, 2)), 0.5, "magnitude", "2:4")
    for mask in masks.values():
        groups = mask.movedim(0, -1).unflatten(-1, (-1, 4)).sum(-1)
        assert bool((groups == 2).all())


def test_each_expert_is_a_layer_of_its_own() -> None:
    model = Stack(6)
    masks = make_masks(model, 0.5, "random", "uniform")
    assert masks["kernel"].sum((1, 2)).tolist() == [18, 18]
    with torch.no_grad():
        model.kernel[0] *= 100
    masks = make_masks(model, 0.5, "magnitude", "balanced")
    assert len(set(masks["kernel"].sum((1, 2)).tolist())) == 1


@pytest.mark.filterwarnings("ignore::sparse_training.masks.EmptyLayer")
@pytest.mark.parametrize("score", ["snip", "grasp"])
def test_a_score_takes_what_the_model_takes(score: str) -> None:
    """The tied weight has the gradient of both its places, and one mask."""
    model, batch = network(), tokens()
    by_forward = make_masks(model, 0.3, score, batch=batch, forward=token_loss)
    assert by_forward.active == round(0.3 * sum(p.numel() for p in prunable(model).values()))
    divided = make_masks(model, 0.3, score, batch={"deep": [batch]}, forward=lambda m, b: token_loss(m, b["deep"][0]))
    assert by_forward == divided
    if score == "snip":
        token_loss(model.train(), batch).backward()
        scores = torch.cat([(p * p.grad).abs().flatten() for p in prunable(model).values()])
        kept = torch.cat([mask.flatten() for mask in by_forward.values()])
        assert float(scores[kept].detach().min()) >= float(scores[~kept].detach().max())


def test_synflow_starts_behind_embeddings() -> None:
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    model = nn.Sequential(nn.Embedding(7, 4), copy.deepcopy(chain))
    ids = torch.randint(7, (2, 1))
    found = make_masks(model, 0.4, "synflow", batch=(ids, ids), include=["*"])
    expected = make_masks(chain, 0.4, "synflow", batch=(torch.randn(1, 4), torch.zeros(1)))
    assert all(torch.equal(found[f"1.{name}"], mask) for name, mask in expected.items())
    with pytest.raises(InputError, match="starts behind embeddings"):
        make_masks(model, 0.4, "synflow", batch=(ids, ids), include=["*", "0"])


EVERY = {"none": None, **{name: kind() for name, kind in REPARAMS.items()}}


def stepped(reparam: str, optimizer: type[torch.optim.Optimizer] = torch.optim.AdamW) -> tuple:
    model = network()
    masks = make_masks(model, 0.4, "random", seed=1)
    sparse = sparsify(model, masks, EVERY[reparam])
    stepper = optimizer(sparse.parameter_groups(1e-2), lr=1e-2)
    sparse.attach(stepper)
    for step in range(4):
        stepper.zero_grad()
        token_loss(model, tokens(step)).backward()
        stepper.step()
        sparse.reset(stepper)
    return model, masks, sparse, stepper


@pytest.mark.parametrize("reparam", EVERY)
def test_a_tied_recurrent_attending_network_trains_on_its_mask_and_merges_exactly(reparam: str) -> None:
    model, masks, sparse, stepper = stepped(reparam)
    for name, weight in sparse.weights().items():
        assert not bool(weight[~masks[name]].any())
    for layer in sparse.layers:
        for tensor in (*layer.parameters, *layer.states(stepper)):
            assert not bool(tensor[~layer.mask].any())
    plain, fresh = sparse.merge(), network()
    ids, _ = tokens(9)
    assert torch.equal(plain.eval()(ids), model.eval()(ids))
    assert plain.head.weight is plain.embed.weight
    assert type(plain.lstm) is nn.LSTM
    assert list(plain.state_dict()) == list(fresh.state_dict()) == list(sparse.state_dict())
    fresh.load_state_dict(sparse.state_dict())
    assert torch.equal(fresh.eval()(ids), plain(ids))
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in fresh.parameters())


@pytest.mark.parametrize("reparam", EVERY)
def test_a_state_of_factors_and_a_plain_one_come_back(reparam: str) -> None:
    model, masks, sparse, _ = stepped(reparam)
    other = network()
    again = sparsify(other, masks, EVERY[reparam])
    other.load_state_dict(model.state_dict())
    assert all(torch.equal(again.weights()[name], weight) for name, weight in sparse.weights().items())
    third = sparsify(network(), masks, EVERY[reparam])
    third.load_state_dict(sparse.state_dict())
    for name, weight in sparse.weights().items():
        torch.testing.assert_close(third.weights()[name], weight, rtol=1e-15, atol=0)


def test_a_tied_weight_has_one_pair_of_factors_and_the_gradient_of_both_places() -> None:
    model = network()
    sparse = sparsify(model, make_masks(model, 0.5, "random"), SignIn())
    factors = [name for name, _ in model.named_parameters() if "embed" in name or "head" in name]
    assert factors == ["embed.parametrizations.weight.original0", "embed.parametrizations.weight.original1"]
    plain, batch = sparse.merge(), tokens()
    token_loss(plain, batch).backward()
    gradient = sparse.dense_gradient(lambda: token_loss(model, batch))
    for name, parameter in prunable(plain).items():
        torch.testing.assert_close(gradient[name], parameter.grad, rtol=1e-12, atol=1e-14)
    token_loss(model, batch).backward()
    m, w = sparse.layers[0].parameters
    torch.testing.assert_close(m.grad, w * plain.embed.weight.grad, rtol=1e-12, atol=1e-14)


def test_str_writes_a_tied_weight_in_both_places() -> None:
    model = network()
    start = Start(
        density=0.5,
        steps_per_epoch=1,
        cycle_steps=1,
        total_steps=1,
        generator=torch.Generator(),
        memory={},
        model=model,
        prunable=tuple(prunable(model)),
        reparam=None,
        start_masks=lambda: make_masks(model, 1, "random"),
    )
    sparse = STR(initial=-1.0).begin(start)
    assert torch.equal(model.head.weight, model.embed.weight)
    assert bool((model.head.weight == 0).any())
    plain = sparse.merge()
    assert plain.head.weight is plain.embed.weight
    assert torch.equal(plain.head.weight, model.head.weight)


@pytest.mark.parametrize("reparam", EVERY)
def test_a_frozen_weight_is_masked_and_left_alone(reparam: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[1].weight.requires_grad_(False)
    masks = make_masks(model, 0.5, "random")
    before = model[1].weight.detach() * masks["1.weight"]
    sparse = sparsify(model, masks, EVERY[reparam])
    stepper = torch.optim.SGD(sparse.parameter_groups(0.1), lr=0.1)
    sparse.attach(stepper)
    for _ in range(3):
        stepper.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        stepper.step()
        sparse.reset(stepper)
    assert torch.equal(model[1].weight, before)
    assert sparse.layers[1].factors is None
    assert not model[1].weight.requires_grad


def test_weights_without_values_are_named_in_one_line() -> None:
    with pytest.raises(InputError, match=r"1.weight of a lazy module.*one batch"):
        make_masks(nn.Sequential(nn.Linear(3, 3), nn.LazyLinear(2)), 0.5, "random")
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(3, 3))
    assert list(prunable(model)) == ["0.weight"]
    for call in (lambda: make_masks(model, 0.5, "random"), lambda: sparsify(model, cpu_masks())):
        with pytest.raises(InputError, match=r"0.weight on the meta device"):
            call()


def cpu_masks() -> object:
    return make_masks(nn.Sequential(nn.Linear(3, 3)), 0.5, "random")


def test_sparse_opt_tells_neurons_apart_whatever_the_storage() -> None:
    """A transposed weight gets the factors of the same weight stored as usual."""
    model = nn.Sequential(Stack(6))
    masks = make_masks(model, 0.5, "random")
    layer = next(x for x in sparsify(model, masks, None, SparseOpt()).layers if x.name == "0.kernel")
    factor = SCALINGS["sparse-opt"]().gradient(layer)
    assert factor is not None
    assert factor.shape == (2, 1, 6)
    incoming = masks["0.kernel"].sum(1, keepdim=True).double()
    torch.testing.assert_close(factor.double(), (incoming / incoming.mean()).sqrt())


def test_lambda_max_counts_a_tied_weight_once() -> None:
    """Against the dense Hessian of the same loss in the active weights."""
    model, batch = network(), tokens()
    masks = make_masks(model, 0.3, "random", include=["embed"])
    sparsify(model, masks)
    names = list(masks)

    def loss(flat: Tensor) -> Tensor:
        parts = flat.split([masks[name].numel() for name in names])
        state = {name: p.view_as(masks[name]) * masks[name] for name, p in zip(names, parts, strict=True)}
        return cross_entropy(torch.func.functional_call(model, state, batch[0]).flatten(0, 1), batch[1].flatten())

    flat = torch.cat([model.get_parameter(name).detach().flatten() for name in names])
    with sdpa_kernel(SDPBackend.MATH):
        expected = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1]
    pair = max_eigenvalue(model, cross_entropy, batch, masks, params=names, tol=1e-6)
    assert pair.value == pytest.approx(float(expected), rel=1e-5)
