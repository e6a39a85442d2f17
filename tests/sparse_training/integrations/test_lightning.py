"""The Trainer of Lightning: checkpoints with masks and factors, and training that goes on from them bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from sparse_training import SignIn, load_network, make_masks, sparsify
from sparse_training.methods import Method, RiGL
from sparse_training.reparam import HAM, Reparam, SparseOpt, UnitSpeed

lightning = pytest.importorskip("lightning.pytorch")

from sparse_training.integrations.lightning import SparseCallback  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]


class Module(lightning.LightningModule):
    def __init__(self, reparam: Reparam | None, scaling: SparseOpt | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        self.sparse = sparsify(self.network, make_masks(self.network, 0.4, "random"), reparam, scaling)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.sparse.parameter_groups(0.01), lr=1e-2)


def fit(out: Path, method: Method | None, reparam: Reparam | None, scaling=None, **options: object):
    module = Module(reparam, scaling)
    callback = SparseCallback(module.sparse, method, reset_every=3, merged=out / "merged.safetensors")
    saved = lightning.callbacks.ModelCheckpoint(dirpath=out, save_top_k=-1)
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[callback, saved],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=out,
        gradient_clip_val=1.0,
    )
    rng = torch.Generator().manual_seed(0)
    data = TensorDataset(torch.randn(16, 6, generator=rng), torch.randint(4, (16,), generator=rng))
    trainer.fit(module, DataLoader(data, batch_size=4), **options)
    return module, trainer, callback


CASES = [(None, None), (None, SignIn()), (None, UnitSpeed()), (None, HAM()), (RiGL(every=2), SignIn())]


@pytest.mark.parametrize(("method", "reparam"), CASES)
def test_a_resumed_training_ends_bit_for_bit(method: Method | None, reparam: Reparam | None, tmp_path: Path) -> None:
    whole, trainer, callback = fit(tmp_path / "whole", method, reparam)
    half = tmp_path / "whole" / "epoch=1-step=8.ckpt"
    again, _, _ = fit(tmp_path / "again", method, reparam, ckpt_path=str(half))
    assert callback.attached.training.step == 16
    assert whole.sparse.masks == again.sparse.masks
    for name, weight in whole.sparse.weights().items():
        assert not bool(weight[~whole.sparse.masks[name]].any())
        assert torch.equal(weight, again.sparse.weights()[name])
    assert "sparse/flipped_since_start" in trainer.callback_metrics
    merged = load_network(tmp_path / "whole" / "merged.safetensors")
    assert all(torch.equal(merged.state[name], weight) for name, weight in whole.sparse.weights().items())


def test_what_acts_before_a_step_gets_the_gradients_of_lightnings_closure(tmp_path: Path) -> None:
    module, _, callback = fit(tmp_path, None, UnitSpeed(), SparseOpt())
    assert callback.attached.training.step == 16
    assert all(bool(weight.any()) for weight in module.sparse.weights().values())
