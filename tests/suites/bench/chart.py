# SPDX-License-Identifier: GPL-2.0
"""Plots as SVG, by matplotlib: the same bytes from the same figures."""

import matplotlib
from matplotlib import pyplot, ticker

matplotlib.use("svg")
matplotlib.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "myepoll",  # text is text, ids are no random ones
    "font.family": "sans-serif", "font.size": 9, "axes.titlesize": 11, "axes.titleweight": "bold",
    "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.edgecolor": "#888", "grid.color": "#ddd", "grid.linewidth": 0.6, "legend.frameon": False,
})

# Colour and marker of each way: the markers are for those who see no colours
WAYS = {"epoll": ("#555", "s"), "fast": ("#1f6fd0", "o"), "ioctl": ("#e07b1a", "^"),
        "adopt": ("#2f9e62", "D")}
NAMES = {"fast": "myepoll, fast door", "ioctl": "myepoll, ioctl",
         "adopt": "myepoll, adopted"}


def save(figure, path):
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def ratios(path, title, rows):
    """A row of points for each operation, left of epoll's 1 where it costs less.

    rows: (operation, {way: ratio})
    """
    figure, axes = pyplot.subplots(figsize=(7.5, 1 + 0.17 * len(rows)))
    places = range(len(rows))
    axes.axvline(1, color=WAYS["epoll"][0], linewidth=1.2, label="epoll", zorder=1)
    axes.hlines(places, [min(of.values()) for _, of in rows],
                [max(of.values()) for _, of in rows], color="#bbb", linewidth=1, zorder=1)
    for way, name in NAMES.items():
        colour, marker = WAYS[way]
        there = [(of[way], place) for place, (_, of) in zip(places, rows) if way in of]
        axes.scatter(*zip(*there), 18, colour, marker, label=name, zorder=2)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(ticker.FixedLocator([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.2, 1.4, 1.6]))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.tick_params(axis="x", top=True, labeltop=True)
    axes.set_yticks(places, [operation for operation, _ in rows])
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid()
    axes.set_title(title)
    axes.legend(loc="lower left")
    save(figure, path)


def shares(path, kernel, ways, figures):
    """Two columns of points, the busiest worker's share and wakeups a connection.

    figures: {(server, way, pace): (share, wakeups)}
    """
    servers = list(dict.fromkeys(f"{server}, {pace}" for server, _, pace in figures))
    colours = dict(zip(ways, (WAYS[way][0] for way in ("epoll", "ioctl", "fast", "adopt"))))
    markers = dict(zip(ways, "s^oD"))
    figure, columns = pyplot.subplots(1, 2, figsize=(7.5, 1 + 0.3 * len(servers)), sharey=True)
    for i, (axes, title, goal) in enumerate(zip(
            columns, ("share of the busiest worker", "wakeups a connection"), (1, 1))):
        axes.axvline(goal, color="#bbb", linewidth=1, zorder=1)
        for (server, way, pace), both in figures.items():
            axes.scatter(both[i], servers.index(f"{server}, {pace}"), 24, colours[way], markers[way],
                         label=way, zorder=2)
        axes.set_xscale("log", base=2)
        axes.set_xticks([1, 2, 4, 8])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid()
        axes.set_title(title)
    columns[0].set_yticks(range(len(servers)), servers)
    columns[0].set_ylim(len(servers) - 0.5, -0.5)
    handles, labels = columns[1].get_legend_handles_labels()
    once = dict(zip(labels, handles))
    columns[1].legend(once.values(), once.keys(), loc="best")
    figure.suptitle(f"8 workers on one listening socket (Linux {kernel})", y=1.04)
    save(figure, path)


def curves(path, title, x_name, lines):
    """lines: {way: [(x, instructions)]}"""
    figure, axes = pyplot.subplots(figsize=(6, 3.6))
    for way, points in lines.items():
        colour, marker = WAYS[way]
        axes.plot(*zip(*points), color=colour, marker=marker, markersize=4.5, linewidth=1.5,
                  label=NAMES.get(way, way))
    xs = sorted({x for points in lines.values() for x, _ in points})
    ys = [y for points in lines.values() for _, y in points]
    axes.set_xscale("log")
    axes.set_xticks(xs, [f"{x:,}" for x in xs])
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    if max(ys) > 10 * min(ys):
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 1.1 * max(ys))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid()
    axes.set_title(title, loc="left")
    axes.set_xlabel(x_name)
    axes.set_ylabel("instructions")
    axes.legend()
    save(figure, path)
