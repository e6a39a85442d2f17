"""The largest eigenvalue of each layer's own block of the Hessian, or of each kind of layer.

Blocks ignore what layers have in common; none bounds λ_max from above.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from sparse_training.kinds import by_kind
from sparse_training.sharpness.batches import Data, fixed_batches
from sparse_training.sharpness.coordinates import Coordinates
from sparse_training.sharpness.eigenpair import Eigenpair
from sparse_training.sharpness.losses import Loss
from sparse_training.sharpness.solve import max_eigenvalue


def layer_eigenvalues(
    model: nn.Module,
    loss: Loss,
    data: Data,
    masks: Mapping[str, Tensor] | None = None,
    *,
    params: str = "prunable",
    kinds: bool = False,
    **options: Any,
) -> dict[str, Eigenpair]:
    """λ_max of the diagonal block of each parameter with an active weight, by name.

    model, loss, data, masks, params: as in `HessianOperator`. kinds: let all parameters of a kind be one block, such as
    those of q in all blocks of a transformer. options: as of `max_eigenvalue`.
    """
    batches = fixed_batches(data)
    names = Coordinates(model, masks, params).names
    active = [name for name in names if not masks or name not in masks or bool(masks[name].any())]
    blocks = by_kind(active) if kinds else {name: [name] for name in active}
    return {
        block: replace(pair, reason=f"block {block}: {pair.reason}")
        for block, members in blocks.items()
        for pair in [max_eigenvalue(model, loss, batches, masks, params=members, **options)]
    }
