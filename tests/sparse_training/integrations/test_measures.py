"""What a sparse network does, as a flat dict for any logger, and the state of a loop that others run."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from commons import InputError
from sparse_training import SignIn, make_masks, max_eigenvalue, sparsify
from sparse_training.integrations import Measures, Session
from sparse_training.methods import RiGL
from sparse_training.reparam import Sparse

X, Y = torch.randn(16, 6, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 3


def network(reparam: SignIn | None = None) -> Sparse:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    return sparsify(model, make_masks(model, 0.5, "random", "uniform"), reparam)


def test_flips_are_counted_over_active_weights_since_the_start_and_since_the_last_call() -> None:
    sparse = network()
    measures = Measures(sparse)
    first, second = sparse.layers
    with torch.no_grad():
        first.theta.neg_()
    found = measures()
    assert found["sparse/density"] == 0.5
    assert found["sparse/flipped_since_start"] == found["sparse/flipped_since_last"] == 24 / 36
    assert found["sparse/flipped_since_start/0.weight"] == 1
    with torch.no_grad():
        second.theta.neg_()
    found = measures()
    assert (found["sparse/flipped_since_start"], found["sparse/flipped_since_last"]) == (1, 12 / 36)


def test_speeds_and_curvature_are_those_of_the_merged_network() -> None:
    sparse = network(SignIn(beta=2.0))
    optimizer = torch.optim.SGD(sparse.model.parameters(), lr=0.1)
    found = Measures(sparse, (cross_entropy, (X, Y)))(optimizer)
    for layer in sparse.layers:
        speed = (4 * layer.theta[layer.mask].square() + 4).sqrt().mean()
        assert found[f"sparse/speed/{layer.name}"] == pytest.approx(float(speed.detach()), rel=1e-5)
    assert found["sparse/lambda_max"] == max_eigenvalue(sparse.merge(), cross_entropy, (X, Y), sparse.masks).value
    assert all(isinstance(value, float) for value in found.values())


def test_a_session_resets_measures_and_goes_on_from_its_file(tmp_path: Path) -> None:
    ends = []
    for broken in (False, True):
        sparse, logged = network(SignIn()), []
        session = Session(sparse, RiGL(every=2), reset_every=3, log=logged.append)
        optimizer = torch.optim.Adam(sparse.parameter_groups(0.01), lr=0.05)
        session.begin(optimizer, 8, 8)
        for step in range(8):
            if broken and step == 5:
                session.save(tmp_path / "session.safetensors")
                plain, held = sparse.merge().state_dict(), optimizer.state_dict()
                sparse = network(SignIn())
                session = Session(sparse, RiGL(every=2), reset_every=3)
                optimizer = torch.optim.Adam(sparse.parameter_groups(0.01), lr=0.05)
                session.begin(optimizer, 8, 8)
                optimizer.load_state_dict(held)
                sparse.model.load_state_dict({n: v for n, v in plain.items() if n.endswith("bias")}, strict=False)
                session.load(tmp_path / "session.safetensors")
            optimizer.zero_grad()
            cross_entropy(sparse.model(X), Y).backward()
            optimizer.step()
            session.after_step()
            if step == 5:
                m, w = sparse.layers[0].parameters
                beta = (m.square() - w.square())[sparse.layers[0].mask]
                torch.testing.assert_close(beta, torch.ones_like(beta))
        ends.append((sparse.masks, sparse.weights()))
        assert broken or session.measure() == logged[-1]
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(weight, ends[1][1][name]) for name, weight in ends[0][1].items())
    with pytest.raises(InputError, match=r"absent\.safetensors"):
        session.load(tmp_path / "absent.safetensors")
