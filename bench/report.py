"""Results as Markdown, JSON and SVG, once for light pages and once for dark ones."""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plot  # noqa: E402, after the backend is chosen

# Readable on light and on dark pages. Pintail has one that nobody else has.
PINTAIL, OTHERS = "#2f81f7", ["#8b949e", "#d29922", "#bc8cff", "#3fb950", "#f778ba", "#a1887f", "#39c5cf"]


class Report:
    """What is said so far; `write` may come more than once, so that a run cut short keeps what it has."""

    def __init__(self, out: Path):
        self.out, self.lines, self.figures = out, [], {}
        # What was asked for: (what, measured, asked for, whether it is reached). What we lose: (what, against whom, ratio).
        self.asked, self.lost = [], []
        self.head = []
        out.mkdir(parents=True, exist_ok=True)

    def say(self, line="") -> None:
        print(line, flush=True)
        self.lines.append(line)

    def table(self, titles, rows) -> None:
        for line in table(titles, rows):
            self.say(line)

    def write(self) -> None:
        lines = [*self.head]
        if self.asked:
            rows = [[what, measured, asked, "yes" if reached else "**no**"] for what, measured, asked, reached in self.asked]
            lines += ["## Asked for", "", *table(["in this run", "measured", "asked for", "reached"], rows)]
        if self.lost:
            rows = [[what, whom, f"{ratio:.2f}"] for what, whom, ratio in self.lost]
            lines += ["## Where Pintail loses", "", *table(["what", "against", "Pintail's ratio"], rows)]
        (self.out / "results.md").write_text("\n".join([*lines, *self.lines]) + "\n")
        (self.out / "results.json").write_text(json.dumps(self.figures, indent=1) + "\n")

    def lines_plot(self, name, title, x, series, x_label, y_label, log=False) -> None:
        """Lines, one for each series, as NAME.svg and NAME-dark.svg."""

        def draw(figure):
            axes = figure.subplots()
            for (label, values), colour in zip(series.items(), _colours(series)):
                axes.plot([str(value) for value in x], values, marker="o", label=label, color=colour)
            axes.set(title=title, xlabel=x_label, ylabel=y_label, yscale="log" if log else "linear")
            axes.grid(alpha=0.3)
            axes.legend()

        self._draw(name, (6, 3.5), draw)

    def bars(self, name, title, panels, x_label) -> None:
        """Panels of bars beside each other, {panel: {label: value}}, as NAME.svg and NAME-dark.svg."""
        labels = list(dict.fromkeys(label for values in panels.values() for label in values))
        colours = dict(zip(labels, _colours(labels)))
        across = min(3, len(panels))
        down = -(-len(panels) // across)

        def draw(figure):
            figure.suptitle(title, fontsize=10)
            grid = figure.subplots(down, across, squeeze=False).flatten()
            for axes in grid[len(panels) :]:
                axes.set_visible(False)
            for axes, (panel, values) in zip(grid, panels.items()):
                shown = list(values)[::-1]
                drawn = axes.barh(shown, [values[label] for label in shown], color=[colours[label] for label in shown])
                axes.bar_label(drawn, fmt="%.3g", padding=3)
                axes.set_title(panel, fontsize=10)
                axes.set_xlabel(x_label)
                axes.margins(x=0.22)
                axes.spines[["top", "right"]].set_visible(False)

        tallest = max(len(values) for values in panels.values())
        self._draw(name, (4.2 * across, down * (1.1 + 0.3 * tallest)), draw)

    def _draw(self, name, size, draw) -> None:
        """The background is the page's own."""
        for suffix, ink in [("", "#1f2328"), ("-dark", "#e6edf3")]:
            style = {key: ink for key in ["text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"]}
            with plot.rc_context({**style, "svg.fonttype": "none", "svg.hashsalt": name, "legend.framealpha": 0}):
                figure = plot.figure(figsize=size)
                draw(figure)
                for axes in figure.axes:
                    axes.set_facecolor("none")
                figure.tight_layout()
                figure.savefig(self.out / f"{name}{suffix}.svg", transparent=True, metadata={"Date": None})
                plot.close(figure)


def table(titles, rows) -> list:
    cells = [titles, ["---"] * len(titles), *rows]
    return [*("| " + " | ".join(map(str, row)) + " |" for row in cells), ""]


def _colours(labels) -> list:
    others = iter(OTHERS * 3)
    return [PINTAIL if label == "Pintail" else next(others) for label in labels]
