"""How Sphinx builds these pages: ``make docs``."""

from lightwork import __version__

project = "lightwork"
author = "the lightwork authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = False

html_theme = "furo"
html_title = "lightwork"
html_show_sphinx = False
