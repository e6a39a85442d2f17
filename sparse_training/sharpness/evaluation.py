"""The mode and the precision in which a network is evaluated while its curvature is measured, put back afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from sparse_training.devices import float32_products
from sparse_training.seeding import isolated


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and full precision, with derivatives of any order.

    Attention runs on its mathematical kernel, since the fused ones have no second derivative; TF32 and autocast are
    off; the random state is fixed inside and kept outside, so that a model that draws numbers is one function.
    """
    modes = [(module, module.training) for module in model.modules()]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    try:
        for module, _ in modes:
            module.training = False
        torch.backends.mha.set_fastpath_enabled(False)
        with isolated(0), sdpa_kernel(SDPBackend.MATH), exact_arithmetic(), torch.enable_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, mode in modes:
            module.training = mode


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No TF32 and no autocast on a GPU, deterministic cuDNN; nothing to do where there is none."""
    if not torch.cuda.is_available():
        yield
        return
    cudnn = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    with cudnn, float32_products(), torch.autocast("cuda", enabled=False):
        yield
