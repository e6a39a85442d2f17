"""A decoder-only transformer for tokens: pre-norm, rotary positions, no dropout, one matrix a weight.

It computes what Hugging Face's GPT-NeoX computes with sequential residuals, rotary_pct 1 and the biases of its linear
maps at 0.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from commons.checks import refuse
from sparse_training.losses import token_losses

ROPE_BASE = 10_000.0
INIT_STD = 0.02  # as in GPT-2, where the matrices that write to the residual stream get 1/√(2 depth) of it


def rotary(length: int, size: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """cos and sin (length, size) of position times frequency (Su et al. 2021, eq. 34), each frequency in both halves.

    In float32, or float64 where `like` is, on its device.
    """
    dtype = torch.float64 if like.dtype == torch.float64 else torch.float32
    powers = torch.arange(0, size, 2, dtype=dtype, device=like.device) / size
    angles = torch.outer(torch.arange(length, dtype=dtype, device=like.device), ROPE_BASE**-powers)
    angles = torch.cat((angles, angles), 1)  # (T, hd)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """x (B, heads, T, hd) turned by its positions' angles, entry i with entry i + hd/2."""
    first, second = x.chunk(2, -1)
    return (x * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


class _Attention(nn.Module):
    """Causal self-attention through scaled_dot_product_attention, whose mathematical kernel has all derivatives."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = (part(x).view(B, T, self.heads, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        q, k = rotated(q, cos, sin), rotated(k, cos, sin)
        if v.dtype == torch.bfloat16 and not v.is_cuda:  # whose backward kernel takes thrice as long as that of float32
            with torch.autocast(v.device.type, enabled=False):
                mixed = scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
        else:
            mixed = scaled_dot_product_attention(q, k, v, is_causal=True)
        out: Tensor = self.o(mixed.transpose(1, 2).reshape(B, T, D))
        return out

    def flow(self, x: Tensor) -> Tensor:
        """The same for one position x (D,) without softmax: q · k multiplies v, and counts as 1 in the value."""
        q, k, v = (part(x).view(self.heads, -1) for part in (self.q, self.k, self.v))
        agreement = (q * k).sum(1, keepdim=True)
        out: Tensor = self.o((_as_one(agreement) * v).flatten())
        return out


class _MLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.act = nn.GELU()
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(self.act(self.up(x)))
        return out

    def flow(self, x: Tensor) -> Tensor:
        """The same without the activation."""
        out: Tensor = self.down(self.up(x))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), _Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width), _MLP(width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), cos, sin)
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def flow(self, x: Tensor) -> Tensor:
        x = x + self.attention.flow(_scaled(self.norm1, x))
        return x + self.mlp.flow(_scaled(self.norm2, x))


class GPT(nn.Module):
    """Embedding, pre-norm blocks, norm, linear head: tokens (B, T) int64 -> logits (B, T, num_classes).

    width: of the residual stream. depth: number of blocks. heads: of each block; width must be an even multiple of it.
    num_classes: number of different tokens. tied: whether the head is the embedding.
    """

    def __init__(self, *, width: int, depth: int, heads: int, num_classes: int, tied: bool = False) -> None:
        super().__init__()
        self.head_size = width // heads
        self.embedding = nn.Embedding(num_classes, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                out = name.endswith(("attention.o.weight", "mlp.down.weight"))
                nn.init.normal_(parameter, std=INIT_STD / math.sqrt(2 * depth) if out else INIT_STD)
        if tied:
            self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        if x.is_floating_point() or x.ndim != 2:
            refuse("model", type(self).__name__, "trained on text: it reads tokens (B, T)", "try data.name=python-text")
        logits: Tensor = self.head(self.hidden(x))
        return logits

    def hidden(self, x: Tensor) -> Tensor:
        """What enters the head, (B, T, D), of tokens (B, T)."""
        cos, sin = rotary(x.shape[1], self.head_size, self.embedding.weight)
        x = self.embedding(x)  # (B, T, D)
        for block in self.blocks:
            x = block(x, cos, sin)
        out: Tensor = self.norm(x)
        return out

    def synaptic_flow(self) -> Tensor:
        """R of SynFlow for tokens: the sum of the logits for an input of ones, every parameter nonnegative.

        The input of ones is the sum of all rows of the embedding. Each part is the positive linear map in it: the
        activation is left out; a norm divides by the root mean square as a constant; and attention multiplies v by
        q · k, divided by its value as a constant. So the scores of q, k, v and o of an attention have equal sums, as
        Theorem 2 of Tanaka et al. 2020 has them for layers in a row.
        """
        x = self.embedding.weight.sum(0)
        for block in self.blocks:
            x = block.flow(x)  # type: ignore[operator]
        total: Tensor = self.head(_scaled(self.norm, x)).sum()
        return total


class TokenLosses(GPT):
    """A GPT that returns the loss of each token, from token_losses, in pieces of `PIECE` tokens.

    model: the network, whose parameters it shares under the same names. It reads the pairs (x, y) as one tensor
    (B, 2, T) and returns (B, T), so that `HessianOperator(TokenLosses(model), of_tokens, (xy, y))` needs the
    logits of no more than a piece at once.
    """

    PIECE = 1024

    def __init__(self, model: GPT) -> None:
        nn.Module.__init__(self)
        self.__dict__.update(model.__dict__)

    def forward(self, xy: Tensor) -> Tensor:
        x, y = xy.unbind(1)
        hidden = self.hidden(x).flatten(0, 1)
        return token_losses(hidden, self.head.weight, y.flatten(), self.PIECE).view(y.shape)


def of_tokens(losses: Tensor, y: Tensor) -> Tensor:
    """The loss of `TokenLosses`, which is what the network returns."""
    return losses


def _as_one(value: Tensor) -> Tensor:
    """1 with the relative gradient of value; 0 where it is 0."""
    constant = value.detach()
    return value / torch.where(constant == 0, torch.ones_like(constant), constant)


def _scaled(norm: nn.Module, x: Tensor) -> Tensor:
    """A norm without centring and bias, its divisor a constant."""
    weight: Tensor = norm.weight  # type: ignore[assignment]
    size = x.detach().square().mean().sqrt()
    return x / torch.where(size == 0, torch.ones_like(size), size) * weight


def gpt(*, num_classes: int = 256) -> GPT:
    """Width 128, depth 5, 4 heads, untied head: 1.05 M parameters for bytes.

    Tokens (B, T) -> logits (B, T, num_classes).
    """
    return GPT(width=128, depth=5, heads=4, num_classes=num_classes)


def gpt_tied(*, num_classes: int = 256) -> GPT:
    """As `gpt`, with the embedding as its head: 1.02 M parameters for bytes."""
    return GPT(width=128, depth=5, heads=4, num_classes=num_classes, tied=True)


def gpt_small(*, num_classes: int = 256) -> GPT:
    """Width 512, depth 9, 8 heads, untied head: 28.6 M parameters for bytes. Tokens (B, T) -> (B, T, num_classes)."""
    return GPT(width=512, depth=9, heads=8, num_classes=num_classes)
