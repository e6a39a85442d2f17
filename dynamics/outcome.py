"""How a trajectory ends and why: the vocabulary of every result in this room.

A trajectory that could not be decided is UNDECIDED, with a Reason whose text says what would help.
"""

from enum import IntEnum


class Outcome(IntEnum):
    """Where a start ends. Stored as int8."""

    RECOVERED = 0
    SADDLE = 1
    STUCK = 2
    DIVERGED = 3
    UNDECIDED = 4


class Reason(IntEnum):
    """The event that ended a trajectory; `outcome` and `text` say what it means."""

    RUNNING = 0
    TEACHER = 1
    WALL = 2
    DEAD = 3
    SADDLE = 4
    SEPARATRIX = 5
    CROSSED = 6
    HORIZON = 7
    STEPS = 8
    ROUNDOFF = 9
    DIVERGED = 10

    @property
    def outcome(self) -> Outcome:
        return _OUTCOMES.get(self, Outcome.UNDECIDED)

    @property
    def text(self) -> str:
        return _TEXTS[self]


_OUTCOMES = {
    Reason.TEACHER: Outcome.RECOVERED,
    Reason.WALL: Outcome.STUCK,
    Reason.DEAD: Outcome.STUCK,
    Reason.SADDLE: Outcome.SADDLE,
    Reason.DIVERGED: Outcome.DIVERGED,
}
_TEXTS = {
    Reason.RUNNING: "not ended",
    Reason.TEACHER: "arrived at the teacher",
    Reason.WALL: "reached w = 0 with a < 0, where the flow of both sides presses against the wall",
    Reason.DEAD: "stationary at w ≤ 0, where the loss stays at ¼",
    Reason.SADDLE: "arrived at the saddle (0, 0)",
    Reason.SEPARATRIX: "passed the saddle closer than rounding can tell apart; try float64 and a smaller rtol",
    Reason.CROSSED: "went through w = 0 to the other half-plane",
    Reason.HORIZON: "reached the horizon; try a larger horizon",
    Reason.STEPS: "needed more than max_steps steps (stiff); try a larger max_steps or rtol",
    Reason.ROUNDOFF: "the step fell below rounding, or a number overflowed; try float64 or a smaller start",
    Reason.DIVERGED: "left every bound",
}
# The same codes as plain numbers, which tensors hold and torch.compile can read.
RUNNING, TEACHER, WALL, DEAD, SADDLE, SEPARATRIX, CROSSED, HORIZON, STEPS, ROUNDOFF, DIVERGED = map(float, Reason)
