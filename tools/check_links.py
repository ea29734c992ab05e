"""Check every link of the built book that stays in the book: `make book` runs it after the build.

    python tools/check_links.py [book/_build/html]

A link is wrong where its file is not there, or its anchor is not in that file. Links to other sites are counted, not
opened; the listings of the source that Sphinx adds (``_modules``) are left out. The exit status is 1 if any link is wrong.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LEFT_OUT = ("_modules", "_static", "_sources", "_downloads")
SITE = Path(__file__).resolve().parent.parent / "book" / "_build" / "html"


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.anchors |= {given[key] for key in ("id", "name") if given.get(key)}
        self.links += [given[key] for key in ("href", "src") if given.get(key)]


def wrong_links(site: Path) -> tuple[list[str], int]:
    """``page: link`` for every wrong one, and how many were looked at."""
    pages = {
        path: Page(path) for path in sorted(site.rglob("*.html")) if path.relative_to(site).parts[0] not in LEFT_OUT
    }
    wrong, number = [], 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            number += 1
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = pages.get(target)
            lost = bool(parts.fragment) and known is not None and unquote(parts.fragment) not in known.anchors
            if not target.exists() or lost:
                wrong.append(f"{path.relative_to(site)}: {link}")
    return wrong, number


def main(arguments: list[str]) -> int:
    site = Path(arguments[0]).resolve() if arguments else SITE
    if not site.is_dir():
        print(f"{site} is not there: build the book first", file=sys.stderr)
        return 1
    wrong, number = wrong_links(site)
    print("\n".join([*wrong, f"{number:,} links inside the book, {len(wrong)} of them wrong"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
