"""What `--data` says, in every command: a data set by its name, or the folder or the text that holds one."""

from pathlib import Path

from commons.checks import nearest, refuse
from sparse_training.data.found import look
from sparse_training.data.loading import DATASETS


def named(text: str) -> tuple[str, str]:
    """(name, "") of a data set in `DATASETS` or of a module:callable, and ("", path) of a folder or a file.

    A folder that is called like a data set is ./NAME. A path with a / need not exist here: a run may begin elsewhere.

    Raises:
        InputError: it is neither.
    """
    if text in DATASETS:
        return text, ""
    if "/" in text or Path(text).exists():
        return "", text
    if ":" in text:
        return text, ""
    hint = nearest(text, DATASETS)
    return refuse("data", text, f"a data set ({DATASETS.listed()}), module:callable, or an existing path", hint)


def located(text: str, root: str | None) -> tuple[str, str | None]:
    """Name and folder for `load`; of a folder alone, the data set that it holds. root: the folder for a name.

    Raises:
        InputError: it is neither name nor path; a folder is given twice; or the folder holds no data set.
    """
    name, place = named(text)
    if name:
        return name, root
    if root:
        refuse("data_root", root, "left out", f"--data={text} says where the data are")
    return "text" if Path(place).is_file() else look(place).name, place
