"""Text that a transformer writes on from a beginning, token by token."""

import torch
from torch import Tensor, nn

from commons.checks import number, refuse


@torch.no_grad()
def continued(
    model: nn.Module, tokens: Tensor, count: int, *, context: int = 128, temperature: float = 0.8, seed: int = 0
) -> Tensor:
    """The tokens (T + count,) that begin with `tokens` (T,), T > 0; each further one is drawn from the model's logits.

    context: how many of the last tokens the model sees. temperature: what logits are divided by; 0 takes the likeliest.
    seed: of the draws, made on the CPU.

    Raises:
        InputError: no tokens to begin with, or a number out of range.
    """
    number("count", count, at_least=0, integer=True)
    number("temperature", temperature, at_least=0)
    number("context", context, at_least=1, integer=True)
    if not len(tokens):
        refuse("tokens", "none", "at least one to begin with")
    draws = torch.Generator().manual_seed(int(number("seed", seed, at_least=0, integer=True)))
    mode = model.training
    model.eval()
    try:
        for _ in range(count):
            logits = model(tokens[None, -context:])[0, -1].float().cpu()
            if temperature:
                chosen = torch.multinomial((logits / temperature).softmax(0), 1, generator=draws)
            else:
                chosen = logits.argmax(0, keepdim=True)
            tokens = torch.cat((tokens, chosen.to(tokens)))
    finally:
        model.train(mode)
    return tokens
