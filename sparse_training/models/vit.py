"""DeiT-Small (Touvron et al. 2021), a vision transformer without distillation token, with timm's parameter names.

Stochastic depth and other training-time regularisers are not part of it.
"""

import torch
from torch import Tensor, nn

from commons.checks import refuse


class _PatchEmbed(nn.Module):
    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, width, patch, stride=patch)

    def forward(self, x: Tensor) -> Tensor:
        patches: Tensor = self.proj(x)
        return patches.flatten(2).transpose(1, 2)  # (B, T, D)


class _Attention(nn.Module):
    """Self-attention written out, because the fused kernels have no second derivative and curvature needs one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, T, D = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4)  # (B, heads, T, hd)
        attention = (q @ k.transpose(-2, -1) * (D // self.heads) ** -0.5).softmax(-1)  # (B, heads, T, T)
        out: Tensor = self.proj((attention @ v).transpose(1, 2).reshape(B, T, D))
        return out


class _MLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = _Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = _MLP(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class VisionTransformer(nn.Module):
    """Patches, a class token, pre-norm blocks, linear head on the class token: (B, C, H, H) -> (B, num_classes)."""

    def __init__(
        self,
        *,
        patch: int,
        width: int,
        depth: int,
        heads: int,
        in_channels: int,
        image_size: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(in_channels, width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + (image_size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, num_classes)
        nn.init.normal_(self.cls_token, std=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        x = torch.cat((self.cls_token.expand(len(x), -1, -1), x), 1) + self.pos_embed  # (B, 1 + T, D)
        logits: Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


def deit_small(*, num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> VisionTransformer:
    """DeiT-Small (Touvron et al. 2021, table 1): width 384, depth 12, 6 heads; 22.05 M at 224 pixels, 1,000 classes.

    (B, in_channels, image_size, image_size) -> logits (B, num_classes). Patches are of 16 pixels for images of 64 and
    more, and of 4 for smaller ones.

    Raises:
        InputError: image_size is no multiple of the size of a patch.
    """
    patch = 16 if image_size >= 64 else 4
    if image_size % patch:
        refuse("image_size", image_size, f"a multiple of the patch size {patch}")
    sizes = {"in_channels": in_channels, "image_size": image_size, "num_classes": num_classes}
    return VisionTransformer(patch=patch, width=384, depth=12, heads=6, **sizes)
