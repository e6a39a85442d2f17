"""How often each flow recovers random starts, over their scale: what `python -m dynamics geometry` saves."""

from typing import TYPE_CHECKING

from dynamics import Sweep
from dynamics.geometry import LAWS, parts
from figures.phase_diagrams import mathematics
from figures.style import PAGE, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def geometry_figure(sweep: Sweep) -> "Figure":
    """A panel for each law of the starts and for own and matched speeds; bars are Wilson's 95 % intervals."""
    from matplotlib import pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(PAGE, PAGE * 0.75), sharex=True, sharey=True, layout="constrained")
    labels = [parts(label) for label in sweep.settings["y_labels"]]
    looks = styles(flow for _, flow, _ in labels)
    for i, (law, flow, speeds) in enumerate(labels):
        axes = grid[LAWS.index(law), ("own", "matched").index(speeds)]
        rate = sweep.rate[:, i]
        bars = [abs(rate - sweep.low[:, i]), abs(sweep.high[:, i] - rate)]
        look, beside = looks[flow], 1 + 0.04 * (list(looks).index(flow) - len(looks) / 2)  # equal curves side by side
        form = {"color": look.colour, "marker": look.marker, "ms": 3, "lw": 1, "capsize": 1.5}
        axes.errorbar(sweep.x * beside, rate, bars, label=mathematics(flow), **form)
        axes.set_title(f"{law} starts, {speeds} speeds")
    for axes in grid[:, 0]:
        axes.set_ylabel("share that recovers")
    for axes in grid[1]:
        axes.set(xlabel="scale of the starts", xscale="log", ylim=(-0.04, 1.04))
    handles, names = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure
