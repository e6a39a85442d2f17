"""The largest eigenvalue of each layer's own block of the Hessian.

Blocks ignore what layers have in common; none bounds λ_max from above.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

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
    **options: Any,
) -> dict[str, Eigenpair]:
    """λ_max of the diagonal block of each parameter with an active weight, by name.

    model, loss, data, masks, params: as in `HessianOperator`. options: as of `max_eigenvalue`.
    """
    batches = fixed_batches(data)
    names = Coordinates(model, masks, params).names
    inactive = {name for name in names if masks and name in masks and not bool(masks[name].any())}
    return {
        name: replace(pair, reason=f"block {name}: {pair.reason}")
        for name in names
        if name not in inactive
        for pair in [max_eigenvalue(model, loss, batches, masks, params=[name], **options)]
    }
