"""Two small repairs to what autodoc shows on the API page."""


def keep_colons(app, what, name, obj, options, lines):
    """Napoleon takes text before a colon in an attribute's first line for a type; an empty comment prevents that."""
    if what in ("attribute", "property", "data") and lines:
        lines[:0] = ["..", ""]


def short_defaults(app, what, name, obj, options, signature, returned):
    """``<factory>``, a dataclass's computed default, is not Python and spoils the layout of the whole signature."""
    if signature and "<factory>" in signature:
        return signature.replace("<factory>", "..."), returned
    return None


def setup(app):
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon's 500
    app.connect("autodoc-process-signature", short_defaults)
    return {"parallel_read_safe": True}
