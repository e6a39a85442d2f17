"""`Measures`: flips, density, speeds and λ_max of a sparse network in training, as a flat dict for any logger."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from sparse_training.reparam import Sparse
from sparse_training.reparam.speeds import speeds_of
from sparse_training.signs.compare import flips_by_layer, total


class Measures:
    """What a sparse network does, compared with its start and with the last call.

    sparse: the network; its signs are kept, one byte a weight, twice. sharpness: the arguments of `max_eigenvalue`
    after the network, such as (loss, (x, y)), to measure λ_max as well; None leaves it out.

        measures = Measures(sparse)
        ...; logger.log(measures(optimizer), step)  # wandb.log, mlflow.log_metrics, trackio.log, self.log_dict
    """

    def __init__(self, sparse: Sparse, sharpness: tuple[Any, Any] | None = None) -> None:
        self._sparse, self._sharpness = sparse, sharpness
        self._start = self._last = self._signs()

    def __call__(self, optimizer: torch.optim.Optimizer | None = None) -> dict[str, float]:
        """The measures of now, by name.

        optimizer: adds the speed of each layer where a reparametrization or a scaling has one.

            sparse/density                       share of the prunable weights that are active
            sparse/flipped_since_start, ..._last share of them with a sign and the opposite of an earlier one
            sparse/flipped_since_start/LAYER     the same of one layer
            sparse/speed/LAYER                   mean of g in dθ = −g ∇L dt
            sparse/lambda_max                    the largest eigenvalue of the Hessian in the active weights
        """
        now, masks = self._signs(), self._sparse.masks
        found = {"sparse/density": masks.density}
        for since, before in (("start", self._start), ("last", self._last)):
            counts = flips_by_layer(before, now, masks)
            found[f"sparse/flipped_since_{since}"] = total(counts.values()).flipped_share
            if since == "start":
                found |= {f"sparse/flipped_since_start/{name}": count.flipped_share for name, count in counts.items()}
        self._last = now
        if optimizer is not None and (self._sparse.reparam is not None or self._sparse.scaling is not None):
            speeds = speeds_of(self._sparse, optimizer)
            found |= {f"sparse/speed/{name}": float(speed["mean"] or 0) for name, speed in speeds.items()}
        if self._sharpness is not None:
            from sparse_training.sharpness import max_eigenvalue

            pair = max_eigenvalue(self._sparse.merge(), *self._sharpness, masks)
            found["sparse/lambda_max"] = pair.value
        return found

    def _signs(self) -> Mapping[str, Tensor]:
        return {name: weight.sign().to("cpu", torch.int8) for name, weight in self._sparse.weights().items()}
