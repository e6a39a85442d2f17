"""The embedded Runge-Kutta pairs by which this room integrates: order 5(4), and order 8(5,3) at tight tolerances."""

from dataclasses import dataclass

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Pair:
    """An explicit pair whose last velocity, at the end of a step, is the first one of the next step.

    stages: the coefficients of stages 2, 3, ….
    weights: those of the solution.
    errors: those of one estimate e of the error, or of two, e and a coarser e₃, which are combined to
        e²/√(e² + e₃²/100) (Hairer, Nørsett & Wanner 1993, II.10).
    roots: the n for which a step grows with the 2ⁿ-th root of the squared error, close to what the order asks for.
    """

    stages: Rows
    weights: tuple[float, ...]
    errors: Rows
    roots: int


# Tsitouras, Comput. Math. Appl. 62 (2011) 770-775, table 1; the error is fifth minus fourth order.
TSIT5 = Pair(
    stages=(
        (0.161,),
        (-0.008480655492356989, 0.335480655492357),
        (2.8971530571054935, -6.359448489975075, 4.3622954328695815),
        (5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525),
        (5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383),
    ),
    weights=(0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774),
    errors=(
        (
            -0.00178001105222577714,
            -0.0008164344596567469,
            0.007880878010261995,
            -0.1447110071732629,
            0.5823571654525552,
            -0.45808210592918697,
            0.015151515151515152,
        ),
    ),
    roots=3,
)


def dormand_prince_8() -> Pair:
    """Dormand and Prince's pair of order 8(5,3), from SciPy's table."""
    from scipy.integrate import DOP853

    stages = tuple(tuple(map(float, row[:i])) for i, row in enumerate(DOP853.A))[1:]
    errors = tuple(tuple(map(float, row)) for row in (DOP853.E5, DOP853.E3))
    return Pair(stages, tuple(map(float, DOP853.B)), errors, roots=4)
