"""Pages with numbers: the prose stands in Markdown, and what is read from ``book/results`` stands there between two markers.

    <!-- begin: table-1 -->
    | MNIST, accuracy in % | z_1 | …
    <!-- end: table-1 -->

What fills a marker is a function with its name: `hebm_lib.reproduction.claims.FILLERS` for the scoreboard and the README,
`hebm_lib.reproduction.bench.tables.fillers` for the page on speed.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from hebm_lib.checkpoint import write_atomically

__all__ = ["fill", "fill_page", "markers"]

MARKER = re.compile(r"^<!-- (begin|end): (.+?) -->$")


def markers(text: str, *, where: str = "the text") -> list[tuple[str, int, int]]:
    """Names of a text's filled parts, each with the lines of its two markers, counted from 0.

    Args:
        text: Markdown.
        where: what messages call it.

    Raises:
        ValueError: for a part that is begun and not ended, or ended and not begun.

    Example:
        >>> markers("prose\\n<!-- begin: one -->\\nold\\n<!-- end: one -->\\n")
        [('one', 1, 3)]
    """
    found, begun = [], None
    for i, line in enumerate(text.split("\n")):
        marker = MARKER.match(line)
        if marker is None:
            continue
        kind, name = marker.groups()
        if kind == "begin":
            if begun is not None:
                raise ValueError(_unclosed(where, *begun))
            begun = (name, i)
        elif begun is None or begun[0] != name:
            raise ValueError(f"{where}, line {i + 1}: {name!r} ends here and was not begun")
        else:
            found.append((name, begun[1], i))
            begun = None
    if begun is not None:
        raise ValueError(_unclosed(where, *begun))
    return found


def _unclosed(where: str, name: str, line: int) -> str:
    return f"{where}, line {line + 1}: {name!r} is begun and not ended; write <!-- end: {name} --> where it shall end"


def fill(text: str, fillers: Mapping[str, Callable[[], str]], *, where: str = "the text") -> str:
    """The text with every part between markers as its filler has it now.

    Args:
        text: Markdown.
        fillers: by the markers' names.
        where: what messages call the text.

    Raises:
        ValueError: for a marker that nothing fills, or that has no partner.

    Example:
        >>> print(fill("prose\\n<!-- begin: one -->\\n<!-- end: one -->", {"one": lambda: "| 1 |"}))
        prose
        <!-- begin: one -->
        | 1 |
        <!-- end: one -->
    """
    lines = text.split("\n")
    for name, begin, end in reversed(markers(text, where=where)):
        if name not in fillers:
            raise ValueError(f"{where}, line {begin + 1}: nothing fills {name!r}; there are {', '.join(fillers)}")
        lines[begin + 1 : end] = fillers[name]().split("\n")
    return "\n".join(lines)


def fill_page(path: Path, fillers: Mapping[str, Callable[[], str]]) -> None:
    """`fill` for a file; nothing is written where a marker is wrong."""
    write_atomically(path, fill(path.read_text(encoding="utf-8"), fillers, where=path.name))
