"""The 1,797 handwritten digits of 8×8 pixels that ship with scikit-learn, in one fixed split.

A pixel is a count from 0 to 16. Digits are neither mirrored nor shifted in training, as that would change some of them.
"""

import torch

from sparse_training.data.resident import Images, Resident, from_tensors


def digits(device: torch.device | str) -> Resident:
    """Shape (1, 8, 8), 10 classes; of each class every fifth image, in the file's order, is a test image."""
    from sklearn.datasets import load_digits

    source = load_digits()
    pixels = torch.from_numpy(source.images.astype("uint8")).unsqueeze(1)
    labels = torch.from_numpy(source.target.astype("int64"))
    rank_in_class = torch.nn.functional.one_hot(labels).cumsum(0).gather(1, labels[:, None]).squeeze(1)
    held_out = rank_in_class % 5 == 0
    train, test = (Images(pixels[where], labels[where]) for where in (~held_out, held_out))
    return from_tensors("digits", tuple("0123456789"), train, test, None, device)
