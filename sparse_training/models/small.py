"""Two small networks for small images: a fully connected one and a convolutional one with batch normalisation.

Both are for scikit-learn's digits by default. The first is LeNet-300-100 (LeCun et al. 1998) with rectifiers.
"""

from collections import OrderedDict

from torch import nn


def mlp(*, num_classes: int = 10, in_channels: int = 1, image_size: int = 8) -> nn.Sequential:
    """Fully connected with hidden widths 300 and 100.

    (B, in_channels, image_size, image_size) -> logits (B, num_classes).
    """
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            fc1=nn.Linear(in_channels * image_size**2, 300),
            relu1=nn.ReLU(inplace=True),
            fc2=nn.Linear(300, 100),
            relu2=nn.ReLU(inplace=True),
            fc3=nn.Linear(100, num_classes),
        )
    )


def cnn(*, num_classes: int = 10, in_channels: int = 1, image_size: int = 8) -> nn.Sequential:
    """Convolutions of width 16, 32 and 64, the last two with stride 2, each with batch normalisation; then a mean.

    (B, in_channels, H, W) -> logits (B, num_classes), for images of any size; image_size changes nothing.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index, (fan_in, fan_out, stride) in enumerate(((in_channels, 16, 1), (16, 32, 2), (32, 64, 2)), start=1):
        layers[f"conv{index}"] = nn.Conv2d(fan_in, fan_out, 3, stride=stride, padding=1, bias=False)
        layers[f"bn{index}"] = nn.BatchNorm2d(fan_out)
        layers[f"relu{index}"] = nn.ReLU(inplace=True)
    layers["avgpool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["fc"] = nn.Linear(64, num_classes)
    for module in layers.values():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layers)
