# SPDX-License-Identifier: GPL-2.0
"""Plots as SVG, legible on a light and on a dark page."""

import html
import math

STYLE = """<style>
text { font: 13px sans-serif; fill: #333 } .title { font-size: 16px; font-weight: bold }
.small { font-size: 11px } .grid { stroke: #8884; stroke-width: 1 } .one { stroke: #888; stroke-width: 1.5 }
.c0 { fill: #888; stroke: #888 } .c1 { fill: #2a7de1; stroke: #2a7de1 } .c2 { fill: #e1872a; stroke: #e1872a }
path { fill: none !important; stroke-width: 2 } rect { stroke: none !important }
@media (prefers-color-scheme: dark) { text { fill: #ddd } }
</style>"""

# The class of each way
COLOUR = {"epoll": "c0", "fast": "c1", "fast door": "c1", "ioctl": "c2"}


class Svg:
    """Shapes, collected and then written."""

    def __init__(self, width, height):
        self.lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                      f'width="{width}" height="{height}">', STYLE]

    def text(self, x, y, text, anchor="start", style=""):
        self.lines.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'class="{style}">{html.escape(str(text))}</text>')

    def line(self, x1, y1, x2, y2, style="grid"):
        self.lines.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
                          f'class="{style}"/>')

    def rect(self, x, y, width, height, style):
        self.lines.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                          f'height="{height:.1f}" class="{style}"/>')

    def path(self, points, style):
        self.lines.append('<path d="M' + " L".join(f"{x:.1f} {y:.1f}" for x, y in points)
                          + f'" class="{style}"/>')
        for x, y in points:
            self.lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="{style}"/>')

    def legend(self, x, y, names):
        for name in names:
            self.rect(x, y - 10, 12, 12, COLOUR[name])
            self.text(x + 17, y, name)
            x += 40 + 8 * len(name)

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.lines + ["</svg>"]) + "\n")


def bars(path, title, names, rows):
    """rows: (label, value...), with one value for each name; a line at 1."""
    left, right, top, step = 360, 50, 60, 13 * len(names) + 7
    width, height = 880, top + step * len(rows) + 30
    most = max(max(values) for _, *values in rows)
    scale = (width - left - right) / most
    svg = Svg(width, height)
    svg.text(10, 22, title, style="title")
    svg.legend(left, 44, names)
    for tick in range(int(most * 2) + 1):
        x = left + tick / 2 * scale
        svg.line(x, top - 6, x, height - 24, "one" if tick == 2 else "grid")
        svg.text(x, height - 8, f"{tick / 2:g}", "middle", "small")
    for i, (label, *values) in enumerate(rows):
        y = top + i * step
        svg.text(left - 8, y + step / 2 + 1, label, "end", "small")
        for j, (name, value) in enumerate(zip(names, values)):
            svg.rect(left, y + 13 * j, value * scale, 11, COLOUR[name])
            svg.text(left + value * scale + 4, y + 13 * j + 10, f"{value:.2f}", style="small")
    svg.write(path)


def decades(low, high):
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


def curves(path, title, x_name, y_name, lines):
    """lines: {name: [(x, y)]}; both axes logarithmic."""
    width, height, left, right, top, bottom = 660, 430, 70, 40, 76, 46
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    if not xs:
        return
    xd, yd = decades(min(xs), max(xs)), decades(min(ys), max(ys))

    def place(x, y):
        return (left + (math.log10(x) - xd[0]) / max(1, xd[-1] - xd[0]) * (width - left - right),
                height - bottom - (math.log10(y) - yd[0]) / max(1, yd[-1] - yd[0])
                * (height - top - bottom))

    svg = Svg(width, height)
    svg.text(10, 22, title, style="title")
    svg.legend(left, 46, lines)
    for d in xd:
        x, _ = place(10 ** d, 10 ** yd[0])
        svg.line(x, top, x, height - bottom)
        svg.text(x, height - bottom + 16, f"{10 ** d:,}", "middle", "small")
    for d in yd:
        _, y = place(10 ** xd[0], 10 ** d)
        svg.line(left, y, width - right, y)
        svg.text(left - 6, y + 4, f"{10 ** d:,}", "end", "small")
    svg.text((left + width - right) / 2, height - 8, x_name, "middle")
    svg.text(left, top - 8, y_name, style="small")
    for name, points in lines.items():
        svg.path([place(x, y) for x, y in points], COLOUR[name])
    svg.write(path)
