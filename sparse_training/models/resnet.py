"""Residual networks (He et al. 2016): ResNet-20 for CIFAR, ResNet-18 and ResNet-50, with torchvision's names."""

from collections.abc import Sequence

from torch import Tensor, nn


def _conv(fan_in: int, fan_out: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(fan_in, fan_out, kernel, stride=stride, padding=kernel // 2, bias=False)


class _Block(nn.Module):
    """One residual block over the width given; `expansion` times as many channels leave it."""

    expansion: int
    downsample: nn.Sequential | None

    def __init__(self, fan_in: int, width: int, stride: int) -> None:
        super().__init__()
        fan_out = width * self.expansion
        self.relu = nn.ReLU(inplace=True)
        self._build_branch(fan_in, width, stride)
        self.downsample = None
        if stride != 1 or fan_in != fan_out:
            self.downsample = nn.Sequential(_conv(fan_in, fan_out, 1, stride), nn.BatchNorm2d(fan_out))

    def _build_branch(self, fan_in: int, width: int, stride: int) -> None:
        raise NotImplementedError

    def _branch(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(self._branch(x) + shortcut)
        return out


class BasicBlock(_Block):
    """Two 3×3 convolutions."""

    expansion = 1

    def _build_branch(self, fan_in: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = _conv(fan_in, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        out: Tensor = self.bn2(self.conv2(x))
        return out


class Bottleneck(_Block):
    """1×1, 3×3, 1×1 convolutions; the stride is on the 3×3 one, as in torchvision ("v1.5")."""

    expansion = 4

    def _build_branch(self, fan_in: int, width: int, stride: int) -> None:
        self.conv1, self.bn1 = _conv(fan_in, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)

    def _branch(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        out: Tensor = self.bn3(self.conv3(x))
        return out


class ResNet(nn.Module):
    """Stem, stages of blocks, global mean, linear classifier: (B, C, H, W) -> logits (B, num_classes).

    The stem is torchvision's 7×7 convolution with stride 2 and a pooling for images of 64 pixels and more, and the
    3×3 convolution with stride 1 that CIFAR networks use for smaller ones. Widths double from stage to stage.
    """

    def __init__(
        self,
        block: type[_Block],
        depths: Sequence[int],
        width: int,
        *,
        in_channels: int,
        image_size: int,
        num_classes: int,
    ) -> None:
        super().__init__()
        large = image_size >= 64
        self.conv1 = _conv(in_channels, width, 7, 2) if large else _conv(in_channels, width, 3)
        self.maxpool: nn.Module = nn.MaxPool2d(3, stride=2, padding=1) if large else nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        fan_in = width
        stages = []
        for stage, depth in enumerate(depths):
            stage_width = width * 2**stage
            blocks = []
            for index in range(depth):
                blocks.append(block(fan_in, stage_width, 2 if stage and not index else 1))
                fan_in = stage_width * block.expansion
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            stages.append(f"layer{stage + 1}")
        self.stages = tuple(stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(fan_in, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.fc(self.avgpool(x).flatten(1))
        return logits


def resnet20(*, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> ResNet:
    """ResNet-20 for CIFAR (He et al. 2016, section 4.2; 0.27 M): widths 16, 32, 64, projection shortcuts (option B).

    (B, in_channels, image_size, image_size) -> logits (B, num_classes).
    """
    return ResNet(BasicBlock, (3, 3, 3), 16, in_channels=in_channels, image_size=image_size, num_classes=num_classes)


def resnet18(*, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> ResNet:
    """ResNet-18 (He et al. 2016, table 1): 11.17 M with the CIFAR stem and 10 classes, 11.69 M for ImageNet.

    (B, in_channels, image_size, image_size) -> logits (B, num_classes). The stem is ImageNet's from 64 pixels on.
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), 64, in_channels=in_channels, image_size=image_size, num_classes=num_classes)


def resnet50(*, num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-50 (He et al. 2016, table 1): 25.56 M for ImageNet.

    (B, in_channels, image_size, image_size) -> logits (B, num_classes). The stem is ImageNet's from 64 pixels on.
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), 64, in_channels=in_channels, image_size=image_size, num_classes=num_classes)
