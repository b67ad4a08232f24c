# SPDX-License-Identifier: GPL-2.0
"""The parts of docs/performance.md that programs here make, each between two comments."""

import os

import guest

DOC = os.path.join(guest.TOP, "docs", "performance.md")


def table(rows):
    """Lines of a table whose first row is its head, all but the first column for numbers."""
    head, *rest = rows
    lines = ["| " + " | ".join(row) + " |" for row in (head, *rest)]
    return [lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]]


def renew(start, end, lines):
    """Put lines, and an empty one on either side, between the comments start and end."""
    with open(DOC) as f:
        head, rest = f.read().split(start + "\n")
    tail = rest.split(end + "\n")[1]
    with open(DOC, "w") as f:
        f.write("\n".join([head + start, "", *lines, "", end + "\n"]) + tail)
