"""One cell of a transplant: where its mask, its signs, its magnitudes and all its other state come from."""

from dataclasses import dataclass

from commons.checks import choice, number, refuse

SIGNS = ("init", "final", "random", "epoch:K", "perturbed:Q", "run:PATH")
MAGNITUDES = ("init", "learned", "random", "constant")
REST = ("init", "learned")
CHOICES = ("mask", "signs", "magnitudes", "rest")


@dataclass(frozen=True)
class Cell:
    """The start of a sparse run as a product of choices.

    mask: learned (the source's last), shuffled (the learned one permuted within each layer), or SCORE or
        SCORE:DISTRIBUTION as in `make_masks`, at the source's density.
    signs: init, final, epoch:K of the source; random, drawn anew; perturbed:Q, final with each sign turned with
        probability Q; run:PATH, final of another run.
    magnitudes: init or learned (final) of the source; random, redrawn from the layer's initialization; constant, the
        root mean square of the source's initialization in the layer.
    rest: all that is not prunable (biases, normalizations with their running statistics, embeddings): init, drawn
        anew, or learned.
    label: the name of the row in a table; by default the four choices.

    Raises:
        InputError: an unknown choice, an epoch below 0 or a probability outside [0, 1].
    """

    mask: str = "learned"
    signs: str = "final"
    magnitudes: str = "random"
    rest: str = "init"
    label: str = ""

    def __post_init__(self) -> None:
        if self.mask not in ("learned", "shuffled"):
            from sparse_training.masks import SCORES, check_distribution, score_and_distribution

            score, distribution = score_and_distribution(self.mask)
            if ":" in score:
                SCORES.find("mask", score)
            else:
                choice("mask", score, ("learned", "shuffled", *SCORES))
            if distribution:
                check_distribution(distribution)
        kind, _, argument = self.signs.partition(":")
        if kind == "epoch":
            number("epoch of signs", _number("epoch of signs", argument), at_least=0, integer=True)
        elif kind == "perturbed":
            number("probability of signs", _number("probability of signs", argument), at_least=0, at_most=1)
        elif kind == "run" and argument:
            pass
        elif self.signs not in SIGNS[:3]:
            choice("signs", self.signs, SIGNS)
        choice("magnitudes", self.magnitudes, MAGNITUDES)
        choice("rest", self.rest, REST)
        if not self.label:
            text = f"mask {self.mask}, signs {self.signs}, magnitudes {self.magnitudes}, rest {self.rest}"
            object.__setattr__(self, "label", text)

    @classmethod
    def parse(cls, text: str) -> "Cell":
        """A cell from `mask=learned,signs=epoch:10,magnitudes=random,rest=init`; what is left out has its default."""
        fields = {}
        for part in text.split(","):
            key, equals, value = part.strip().partition("=")
            if not equals:
                refuse("cell", text, "a list such as mask=learned,signs=epoch:10,magnitudes=random")
            fields[choice("cell field", key, (*CHOICES, "label"))] = value
        return cls(**fields)

    @property
    def choices(self) -> tuple[str, str, str, str]:
        """All that determines the start besides the source; label does not matter."""
        return self.mask, self.signs, self.magnitudes, self.rest

    @property
    def text(self) -> str:
        """The choices as `parse` reads them."""
        return ",".join(f"{key}={value}" for key, value in zip(CHOICES, self.choices, strict=True))

    @property
    def early_epoch(self) -> int | None:
        """The epoch K of signs `epoch:K`; None for other signs."""
        kind, _, epoch = self.signs.partition(":")
        return int(float(epoch)) if kind == "epoch" else None

    @property
    def other_run(self) -> str:
        """The folder of signs `run:PATH`; empty for other signs."""
        kind, _, path = self.signs.partition(":")
        return path if kind == "run" else ""


def paper_cells(early: tuple[int, ...]) -> list[Cell]:
    """The rows below the baseline in the paper's table of sign alignment. early: the epochs of its early signs."""
    return [
        *(Cell(signs=f"epoch:{k}", label=f"signs of epoch {k} + learned mask") for k in early),
        Cell(signs="final", label="final signs + learned mask"),
        Cell(signs="random", magnitudes="learned", label="final magnitudes + learned mask (random signs)"),
        Cell(signs="random", magnitudes="random", label="random init + learned mask"),
    ]


def _number(argument: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        refuse(argument, text, "a number")
