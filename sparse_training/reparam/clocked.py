"""AdamW that counts the steps of each weight by itself, so that one which is grown anew begins as at the first step."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class ClockedAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov & Hutter 2019) with a clock t for each weight in its bias corrections 1 − β₁ᵗ and 1 − β₂ᵗ.

    The clocks are state with one entry a weight. So they are 0 off a mask, start again where a weight is grown, and
    start again where `SignIn(momentum="zero")` sets the averages to 0. With torch's AdamW, whose one count goes on, the
    first step of such a weight is (1 − β₁)/√(1 − β₂) times as long: 3.16 times for β = (0.9, 0.999). Where no weight is
    ever grown, both make the same steps up to rounding.

    warm_up: steps in which the learning rate of a grown weight rises linearly, as in SMET (Xiao et al. 2026, arXiv
    2606.00888); 0 for the clock alone. The weights that are there from the beginning have it, too.
    params, lr, betas, eps, weight_decay: as in torch.optim.AdamW; lr may be a 0-d tensor.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        warm_up: int = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "warm_up": warm_up}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make a step; closure: evaluates the loss and its gradients anew, if it is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step(parameter, parameter.grad, group)
        return loss

    def _step(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2), lr = self.state[parameter], group["betas"], group["lr"]
        for key in () if state else ("exp_avg", "exp_avg_sq", "clock"):
            state[key] = torch.zeros_like(parameter)
        clock = state["clock"].add_(1)
        average = state["exp_avg"].lerp_(gradient, 1 - beta1)
        squares = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        step = average / ((squares / _correction(beta2, clock)).sqrt_().add_(group["eps"]))
        step.div_(_correction(beta1, clock))
        if group["warm_up"]:
            step.mul_((clock / group["warm_up"]).clamp_(max=1))
        parameter.mul_(1 - lr * group["weight_decay"]).sub_(step.mul_(lr))


def _correction(beta: float, clock: Tensor) -> Tensor:
    """1 − βᵗ without cancellation; 1 for β = 0."""
    return torch.expm1(clock * math.log(beta)).neg_() if beta else torch.ones_like(clock)
