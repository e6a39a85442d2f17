"""One verb, `build`, over the networks of the experiments and over any callable a user names.

It never downloads weights.
"""

import importlib
import inspect
from collections.abc import Callable

from torch import nn

from commons.checks import choice, number, refuse
from sparse_training.models.resnet import resnet18, resnet20, resnet50
from sparse_training.models.small import cnn, mlp
from sparse_training.models.vit import deit_small
from sparse_training.seeding import derive, isolated

Factory = Callable[..., nn.Module]

MODELS: dict[str, Factory] = {
    "mlp": mlp,
    "cnn": cnn,
    "resnet20": resnet20,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "deit_small": deit_small,
}

# (in_channels, image_size, num_classes) that each network was published for; of the two small ones, those of digits.
INPUTS: dict[str, tuple[int, int, int]] = {
    "mlp": (1, 8, 10),
    "cnn": (1, 8, 10),
    "resnet20": (3, 32, 10),
    "resnet18": (3, 32, 10),
    "resnet50": (3, 224, 1000),
    "deit_small": (3, 224, 1000),
}


def build(name: str, *, in_channels: int = 3, image_size: int = 32, num_classes: int = 10, seed: int = 0) -> nn.Module:
    """Build a network on the CPU, float32, in training mode, for images (B, in_channels, image_size, image_size).

    name: one of `MODELS`, or "package.module:callable"; a callable gets those of in_channels, image_size and
    num_classes that its signature names. Weights come from `seed` alone, and the global random state is kept.

    Raises:
        InputError: unknown name, a callable that cannot be imported or called or returns no Module, or a size below 1.
    """
    sizes = {"in_channels": in_channels, "image_size": image_size, "num_classes": num_classes}
    for argument, value in sizes.items():
        number(argument, value, at_least=1, integer=True)
    if ":" not in name:
        factory, arguments = MODELS[choice("model", name, MODELS)], sizes
    else:
        factory = _imported(name)
        arguments = _accepted(factory, sizes)
    with isolated(derive(seed, "model")):
        try:
            model = factory(**arguments)
        except TypeError as error:
            if ":" not in name:
                raise
            refuse("model", name, "callable with in_channels, image_size and num_classes", str(error))
    if not isinstance(model, nn.Module):
        refuse("model", name, "a callable that returns a torch.nn.Module", f"it returned {type(model).__name__}")
    return model


def _imported(name: str) -> Factory:
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        refuse("model", name, "an importable package.module:callable", str(error))
    callables: dict[str, Factory] = {key: value for key, value in vars(module).items() if callable(value)}
    return callables[choice(f"callable of {module_name}", attribute, callables)]


def _accepted(factory: Factory, sizes: dict[str, int]) -> dict[str, int]:
    """Those of sizes that the signature of factory names, or all of them where it takes any keyword."""
    try:
        parameters = inspect.signature(factory).parameters
    except ValueError:
        return {}
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return sizes
    return {key: value for key, value in sizes.items() if key in parameters}
