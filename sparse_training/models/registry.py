"""`build`: a network by name, of the experiments or of the user's own, with weights that come from a seed alone."""

import inspect
from collections.abc import Callable

from torch import nn

from commons.checks import number, refuse
from commons.registry import Registry, accepted
from sparse_training.models.decoder import gpt, gpt_small, gpt_tied
from sparse_training.models.resnet import resnet18, resnet20, resnet50
from sparse_training.models.small import cnn, mlp
from sparse_training.models.vit import deit_small
from sparse_training.seeding import derive, isolated

Factory = Callable[..., nn.Module]

MODELS: Registry[Factory] = Registry(
    "a callable that returns a torch.nn.Module",
    {
        factory.__name__: factory
        for factory in (mlp, cnn, resnet20, resnet18, resnet50, deit_small, gpt, gpt_tied, gpt_small)
    },
    accept=lambda part: part if callable(part) else None,
)

# The sizes of a network that does not say for which it was made: those of CIFAR-10.
SIZES = {"in_channels": 3, "image_size": 32, "num_classes": 10}


def published_sizes(name: str) -> dict[str, int]:
    """in_channels, image_size and num_classes for which a network was published: the defaults of its factory.

    What a factory leaves open is as in CIFAR-10.

    Raises:
        InputError: as `build`, for the name.
    """
    try:
        parameters = inspect.signature(MODELS.find("model", name)).parameters
    except ValueError:  # a callable written in C may have no signature
        return dict(SIZES)
    given = {key: parameters[key].default for key in SIZES if key in parameters}
    return {**SIZES, **{key: value for key, value in given.items() if isinstance(value, int)}}


def build(
    name: str,
    *,
    in_channels: int | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> nn.Module:
    """Build a network on the CPU, float32, in training mode, for images (B, in_channels, image_size, image_size)
    or tokens below num_classes.

    name: one of `MODELS`, or "package.module:callable"; a callable gets those of in_channels, image_size and
    num_classes that its signature names. Sizes left out are the published ones. Weights come from `seed` alone, and the
    global random state is kept.

    Raises:
        InputError: unknown name, a callable that cannot be imported or called or returns no Module, or a size below 1.
    """
    sizes = published_sizes(name)
    for argument, value in (("in_channels", in_channels), ("image_size", image_size), ("num_classes", num_classes)):
        if value is not None:
            sizes[argument] = int(number(argument, value, at_least=1, integer=True))
    factory = MODELS.find("model", name)
    with isolated(derive(seed, "model")):
        try:
            model = factory(**accepted(factory, sizes))
        except TypeError as error:
            if name in MODELS:
                raise
            refuse("model", name, "callable with in_channels, image_size and num_classes", str(error))
    if not isinstance(model, nn.Module):
        refuse("model", name, "a callable that returns a torch.nn.Module", f"it returned {type(model).__name__}")
    return model
