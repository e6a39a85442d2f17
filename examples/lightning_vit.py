"""A small vision transformer under Sign-In in Lightning, on digits, with the merged network at the end."""

import tempfile
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from transformers import ViTConfig, ViTForImageClassification

from sparse_training import SignIn, make_masks, sparsify
from sparse_training.integrations.lightning import SparseCallback

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}


class Digits(LightningModule):
    """The network, made sparse before the Trainer asks for an optimizer."""

    def __init__(self) -> None:
        super().__init__()
        config = ViTConfig(image_size=8, patch_size=2, num_channels=1, num_labels=10, **SIZES)
        self.network = ViTForImageClassification(config)
        masks = make_masks(self.network, density=0.3, score="random", distribution="erk")
        self.sparse = sparsify(self.network, masks, SignIn(beta=1.0))

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        images, labels = batch
        return cross_entropy(self.network(pixel_values=images).logits, labels)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.sparse.parameter_groups(weight_decay=0.01), lr=2e-3)


def main() -> None:
    torch.manual_seed(0)
    x, y = (torch.tensor(part) for part in load_digits(return_X_y=True))
    images = x.float().view(-1, 1, 8, 8) / 16
    module = Digits()
    with tempfile.TemporaryDirectory() as folder:
        callback = SparseCallback(module.sparse, reset_every=47, merged=f"{folder}/merged")
        trainer = Trainer(
            max_epochs=4,
            accelerator="cpu",
            callbacks=[callback],
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(module, DataLoader(TensorDataset(images[:1500], y[:1500]), batch_size=32, shuffle=True))
        plain = ViTForImageClassification.from_pretrained(Path(folder) / "merged").eval()
    with torch.no_grad():
        right = (plain(pixel_values=images[1500:]).logits.argmax(1) == y[1500:]).float().mean()
    flipped = trainer.callback_metrics["sparse/flipped_since_start"]
    print(f"accuracy {right:.3f}, flipped {flipped:.4f}, density {module.sparse.masks.density:.3f}")


if __name__ == "__main__":
    main()
