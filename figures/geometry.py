"""How often each flow recovers random starts, over their scale: what `python -m dynamics geometry` saves."""

from typing import TYPE_CHECKING, Any

from dynamics import Sweep
from dynamics.geometry import LAWS, parts
from figures.phase_diagrams import mathematics
from figures.style import column, grid_of, styles

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def geometry_figure(sweep: Sweep) -> "Figure":
    """A panel for each law of the starts and for own and matched speeds; bars are Wilson's 95 % intervals."""
    narrow = column("double") == "single"
    figure, panels = grid_of(4, "double", 2.0 if narrow else 2.6, stacked=2, across=2, sharex=True, sharey=True)
    labels = [parts(label) for label in sweep.settings["y_labels"]]
    looks = styles(flow for _, flow, _ in labels)
    for i, (law, flow, speeds) in enumerate(labels):
        axes = panels[2 * LAWS.index(law) + ("own", "matched").index(speeds)]
        rate = sweep.rate[:, i]
        bars = [abs(rate - sweep.low[:, i]), abs(sweep.high[:, i] - rate)]
        look, beside = looks[flow], 1 + 0.04 * (list(looks).index(flow) - len(looks) / 2)  # equal curves side by side
        form: dict[str, Any] = {"color": look.colour, "marker": look.marker, "ls": look.dashes}
        form |= {"ms": 3, "lw": 1, "capsize": 1.5}
        axes.errorbar(sweep.x * beside, rate, bars, label=mathematics(flow), **form)
        axes.set_title(f"{law} starts,{chr(10) if narrow else ' '}{speeds} speeds")
    for axes in panels[::2]:
        axes.set_ylabel("share that recovers")
    for axes in panels[2:]:
        axes.set(xlabel="scale of the starts", xscale="log", ylim=(-0.04, 1.04))
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=1 if narrow else 2)
    return figure
