"""The device that a name stands for, checked before any work is done on it."""

import torch

from commons.checks import refuse


def device_at_hand(argument: str, name: str) -> torch.device:
    """The device called `name`, on which a tensor can be made and read.

    Raises:
        InputError: names the argument; there is no such device here.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        refuse(argument, name, "a device at hand", str(error).splitlines()[0])
    return device
