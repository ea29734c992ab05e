"""Numbers for the captions of the pages: "Figure." on page 12 becomes "Figure 12.1.", and can be linked to.

A caption is a paragraph that opens with a bold "Figure.", "Table.", "Figure and table." or the like. The first figure of a
page has the anchor ``figure-1``, its first table ``table-1``: ``[Figure 12.1](12-latent-classifier.ipynb#figure-1)`` leads
there from any page, that page too.
"""

import re

from docutils import nodes

WORDS = re.compile(r"figures?|tables?", re.IGNORECASE)
CAPTION = re.compile(r"(Figure|Table)s?\b[\w, ]*\.")


def number_captions(title: str, page: str, seen: dict[str, int]) -> tuple[str, list[str]]:
    """The words of a caption with numbers, and its anchors; ``seen`` counts what the page had before and is changed.

    >>> number_captions("Figure and tables.", "12", seen := {"figure": 1, "table": 0}), seen
    (('Figure 12.2 and tables 12.1.', ['figure-2', 'table-1']), {'figure': 2, 'table': 1})
    """
    anchors = []

    def with_number(match):
        kind = match[0].lower().rstrip("s")
        seen[kind] += 1
        anchors.append(f"{kind}-{seen[kind]}")
        return f"{match[0]} {int(page)}.{seen[kind]}"

    return WORDS.sub(with_number, title), anchors


def number_page(app, doctree):
    """Number the captions of a page whose name begins with two digits."""
    found = re.match(r"notebooks/(\d\d)-", app.env.docname)
    if not found:
        return
    seen, slugs = {"figure": 0, "table": 0}, {}
    for paragraph in doctree.findall(nodes.paragraph):
        strong = next((child for child in paragraph.children if child.astext()), None)  # MyST puts an empty text first
        if isinstance(strong, nodes.strong) and CAPTION.fullmatch(strong.astext()):
            text, anchors = number_captions(strong.astext(), found[1], seen)
            strong.children = [nodes.Text(text)]
            paragraph["ids"].extend(anchors)
            slugs |= {anchor: (paragraph.line, anchor, text) for anchor in anchors}
    known = app.env.metadata[app.env.docname]  # where MyST looks for what comes after the # of a link
    known["myst_slugs"] = known.get("myst_slugs", {}) | slugs


def setup(app):
    app.connect("doctree-read", number_page)
    return {"parallel_read_safe": True}
