"""How `make docs` makes a site of these pages (Sphinx)."""

from sidecar import __version__

project = "jira-oauth-sidecar"
author = "jira-oauth-sidecar maintainers"
release = __version__
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"jira-oauth-sidecar {release}"
html_copy_source = False
myst_heading_anchors = 3  # levels of headings that links may lead to, as on a forge
