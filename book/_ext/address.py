"""Where the built book will stand, for the cards that other sites show of a page: derived from the repository's address."""

import re


def pages_address(repository: str) -> str:
    """GitHub's address for the pages of a repository."""
    owner, name = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+?)/?", repository).groups()
    return f"https://{owner}.github.io/{name}/"


def set_address(app, config):
    """Tell sphinxext-opengraph, which needs whole addresses."""
    config.ogp_site_url = pages_address(config.html_theme_options["repository_url"])


def setup(app):
    app.connect("config-inited", set_address, priority=400)
    return {"parallel_read_safe": True}
