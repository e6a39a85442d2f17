"""GPT-2 with AC/DC in the Trainer of transformers, from random weights; its checkpoints load anywhere."""

import tempfile

import torch
from torch import Tensor
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from sparse_training import make_masks, sparsify
from sparse_training.integrations.transformers import SparseCallback
from sparse_training.methods import ACDC

WORDS, LENGTH = 64, 32


class Counting(Dataset[dict[str, Tensor]]):
    """Sequences that count up from a random start, so that there is something to learn."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        ids = (torch.arange(LENGTH) + 7 * index) % WORDS
        return {"input_ids": ids, "labels": ids}


def main() -> None:
    torch.manual_seed(0)
    settings = {"vocab_size": WORDS, "n_positions": LENGTH, "n_embd": 64, "n_layer": 2, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(**settings, bos_token_id=0, eos_token_id=0))
    # AC/DC begins dense. The weight that embedding and output layer share is one weight with one mask.
    sparse = sparsify(model, make_masks(model, density=1.0, score="magnitude", include=["*"]))
    callback = SparseCallback(sparse, ACDC(), density=0.1)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=8,
            per_device_train_batch_size=16,
            learning_rate=3e-3,
            logging_steps=32,
            save_steps=64,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(model, arguments, train_dataset=Counting(), callbacks=[callback])
        trainer.train()
        trainer.save_model(f"{folder}/final")  # the merged network
        loaded = GPT2LMHeadModel.from_pretrained(f"{folder}/final").eval()
        again = trainer.train(resume_from_checkpoint=f"{folder}/checkpoint-64")  # with masks and method's state
    batch = {key: value[None] for key, value in Counting()[3].items()}
    with torch.no_grad():
        print(f"density {sparse.masks.density:.4f}, loss {loaded(**batch).loss:.3f}, steps {again.global_step}")


if __name__ == "__main__":
    main()
