"""The Trainer of transformers: checkpoints that others load, and training that goes on from them bit for bit."""

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from commons import InputError
from sparse_training import SignIn, make_masks, sparsify
from sparse_training.methods import ACDC, GMP, STR, Method, RiGL
from sparse_training.reparam import Reparam, UnitSpeed

transformers = pytest.importorskip("transformers")
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments  # noqa: E402

from sparse_training.integrations.transformers import SparseCallback  # noqa: E402

pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]
STEPS = 8


class Tokens(Dataset):
    def __len__(self) -> int:
        return 32

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = torch.randint(50, (8,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": ids}


def network(dropout: float = 0.1) -> GPT2LMHeadModel:
    torch.manual_seed(0)
    settings = {"vocab_size": 50, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    settings |= {
        "bos_token_id": 0,
        "eos_token_id": 0,
        "resid_pdrop": dropout,
        "embd_pdrop": dropout,
        "attn_pdrop": dropout,
    }
    return GPT2LMHeadModel(GPT2Config(**settings))


def trainer(
    out: Path, method: Method | None, reparam: Reparam | None, dropout: float = 0.1, **settings: object
) -> tuple:
    model = network(dropout)
    masks = make_masks(model, 1.0 if method is not None and method.begins_dense else 0.3, "random", include=["*"])
    sparse = sparsify(model, masks, reparam)
    density = 0.3 if method is not None and method.begins_dense else None
    callback = SparseCallback(sparse, method, density=density, reset_every=3)
    options = {
        "output_dir": str(out),
        "max_steps": STEPS,
        "per_device_train_batch_size": 4,
        "save_steps": 4,
        "logging_steps": 4,
        "learning_rate": 1e-2,
        "report_to": [],
        "use_cpu": True,
        "disable_tqdm": True,
        **settings,
    }
    if reparam is not None and not reparam.decay_share:
        options["weight_decay"] = 0.0
    data = {"train_dataset": Tokens(), "eval_dataset": Tokens()}
    return Trainer(model, TrainingArguments(**options), **data, callbacks=[callback]), sparse


CASES = [
    (None, None),
    (None, SignIn()),
    (None, UnitSpeed()),
    (RiGL(every=2), SignIn()),
    (ACDC(warm_up=0.2, phase=0.2, final=0.3), None),
    (GMP(every=2), SignIn()),
    (STR(initial=-5.0), None),
]


@pytest.mark.parametrize(("method", "reparam"), CASES)
def test_a_resumed_training_ends_bit_for_bit_and_its_checkpoints_are_plain(
    method: Method | None, reparam: Reparam | None, tmp_path: Path
) -> None:
    whole, sparse = trainer(tmp_path / "whole", method, reparam)
    whole.train()
    for name, weight in sparse.weights().items():
        assert not bool(weight[~sparse.masks[name]].any())
    again, other = trainer(tmp_path / "whole", method, reparam)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    assert sparse.masks == other.masks
    assert all(torch.equal(weight, other.weights()[name]) for name, weight in sparse.weights().items())
    loaded = GPT2LMHeadModel.from_pretrained(tmp_path / "whole" / f"checkpoint-{STEPS}").eval()
    ids = torch.arange(8)[None]
    assert torch.equal(loaded(ids).logits, sparse.model.eval()(ids).logits)
    assert torch.equal(loaded.lm_head.weight, loaded.transformer.wte.weight)
    whole.save_model(str(tmp_path / "out"))
    assert torch.equal(GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()(ids).logits, loaded(ids).logits)
    if method is not None and method.name in ("acdc", "gmp", "rigl"):
        assert sparse.masks.density == pytest.approx(0.3, abs=1e-3)
    history = [line for line in whole.state.log_history if "sparse/density" in line]
    assert history[-1]["sparse/flipped_since_start"] >= 0


def test_accumulation_makes_a_step_of_the_method_of_each_step_of_the_optimizer(tmp_path: Path) -> None:
    ends = []
    for accumulated in (1, 2):
        settings = {"per_device_train_batch_size": 8 // accumulated, "gradient_accumulation_steps": accumulated}
        run, sparse = trainer(tmp_path / str(accumulated), RiGL(every=2), SignIn(), 0.0, **settings)
        run.train()
        ends.append((run, sparse))
    assert [run.state.global_step for run, _ in ends] == [STEPS, STEPS]
    assert ends[0][1].masks == ends[1][1].masks


def test_the_best_checkpoint_brings_its_factors(tmp_path: Path) -> None:
    settings = {
        "load_best_model_at_end": True,
        "eval_strategy": "steps",
        "eval_steps": 4,
    }
    run, sparse = trainer(tmp_path, None, SignIn(), **settings)
    run.train()
    best = GPT2LMHeadModel.from_pretrained(run.state.best_model_checkpoint).eval()
    ids = torch.arange(8)[None]
    assert torch.equal(best(ids).logits, sparse.merge().eval()(ids).logits)


def test_a_checkpoint_without_factors_is_named(tmp_path: Path) -> None:
    run, _ = trainer(tmp_path, None, SignIn())
    run.train()
    (tmp_path / "checkpoint-4" / "sparse.safetensors").unlink()
    again, _ = trainer(tmp_path, None, SignIn())
    with pytest.raises(InputError, match=r"sparse\.safetensors"):
        again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
