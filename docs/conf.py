"""How the site is built: `make docs`. Nothing in it is fetched from elsewhere when it is read."""

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import pytest_execprobe

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE / "_ext"))

project = "pytest-execprobe"
release = pytest_execprobe.__version__
author = copyright = "The pytest-execprobe founders"
extensions = ["myst_parser", "sphinx.ext.autodoc", "generated"]
exclude_patterns = ["_*"]

myst_enable_extensions = ["tasklist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 90
add_module_names = False
autodoc_type_aliases = {"PatternLike": "PatternLike", "Phase": "Phase"}

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_show_search_summary = False  # it takes a server, and readers open the files
pygments_dark_style = "github-dark"

#: Pages that stand in the root of the repository, where GitHub looks for them. The files here say so, and no more.
_ROOT_PAGES = {"index": "README.md", "contributing": "CONTRIBUTING.md", "changelog": "CHANGELOG.md"} | {
    "security": "SECURITY.md"
}


def _from_root(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts the text of a root page in place of its stub, and has links lead to pages of the site."""
    if page not in _ROOT_PAGES:
        names = {f"../{file}": f"{name}.md" for name, file in _ROOT_PAGES.items()}
        source[0] = re.sub(r"\]\(([^)#]+)", lambda found: f"]({names.get(found[1], found[1])}", source[0])
        return
    path = _HERE.parent / _ROOT_PAGES[page]
    app.env.note_dependency(path)
    names = {file: f"{name}.md" for name, file in _ROOT_PAGES.items()}
    toctree = source[0].partition("<!-- toctree -->")[2]
    source[0] = path.read_text() + toctree
    source[0] = re.sub(r"\]\((?!https?:|#)([^)#]+)", lambda found: f"]({_site_link(found[1], names)}", source[0])


def _site_link(link: str, names: dict[str, str]) -> str:
    return names.get(link) or (link.removeprefix("docs/") if link.startswith("docs/") else f"../{link}")


def _plain_aliases(*event: Any) -> tuple[str | None, ...]:
    """Types as they are written: within another type, Sphinx shows how it holds the name of an alias."""
    return tuple(its and re.sub(r"TypeAliasForwardRef\('(\w+)'\)", r"\1", its) for its in event[-2:])


def _check_offline(app: Sphinx, error: Exception | None) -> None:
    """No page loads anything from elsewhere: who reads it may have no network."""
    for page in () if error else Path(app.outdir).glob("*.html"):
        loaded = re.findall(r'(?:\bsrc|<link\b[^>]*\bhref)="((?:https?:)?//[^"]+)', page.read_text())
        if loaded:
            raise ExtensionError(f"{page.name} loads {loaded[0]}")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", _check_offline)
    app.connect("source-read", _from_root)
    app.connect("autodoc-process-signature", _plain_aliases)
