"""How Sphinx builds the pages: scripts/docs."""

from cachew.version import version as installed_version

project = "cachew"
version = release = installed_version()
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
root_doc = "index"
myst_heading_anchors = 4
html_theme = "alabaster"
html_theme_options = {"description": "A git caching server", "page_width": "1100px"}
html_show_copyright = False
html_show_sourcelink = False
# The config's examples are longer than TOML's grammar knows to the last word; code is shown as it is.
suppress_warnings = ["misc.highlighting_failure"]
