"""Settings of Sphinx: the pages of ``docs/`` and the reference of every public room.

The source folder is the repository's root, because pages link to the README, to the changelog and
to data. ``make docs`` builds it.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import deepchem_xc  # noqa: E402

project = "deepchem_xc"
author = "deepchem_xc developers"
copyright = author  # the name that Sphinx reads
version = release = deepchem_xc.__version__

extensions = [
    "myst_nb",  # MyST's Markdown, and notebooks
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    # MathJax itself, copied into the pages: they need no network.
    "sphinx-mathjax-offline",
]
root_doc = "docs/contents"
include_patterns = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "data/README.md",
    "docs/**.md",
    "docs/**.rst",
    "tutorials/*.ipynb",
]
# Not searched for pages.
exclude_patterns = [".*", "build", "benchmarks", "deepchem_xc", "shared", "tests"]
html_theme = "sphinx_rtd_theme"
html_title = f"deepchem_xc {release}"
html_show_sourcelink = False
html_copy_source = False
# An index.html at the top that leads to the first page.
html_extra_path = ["_html"]
pygments_style = "sphinx"

# Notebooks are shown with the outputs that are in their files.
nb_execution_mode = "off"
myst_enable_extensions = ["dollarmath"]
# Links to headings are written as on GitHub.
myst_heading_anchors = 6

# Names in single backticks link to the reference where they are part of it.
default_role = "py:obj"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
add_module_names = False
# Methods are documented by autodoc; a second list of them would repeat their first lines.
numpydoc_show_class_members = False


# Files inside rooms that the pages import from.
ALSO_PUBLIC = (
    "deepchem_xc.eos.fits",
    "deepchem_xc.numerics.errors",
    "deepchem_xc.planewave.loop.policies",
    "deepchem_xc.results",
    "deepchem_xc.xc.enhancement",
)


def exported(module: ModuleType) -> list[str]:
    """What ``__all__`` names, else the public classes and functions that the file defines."""
    names = getattr(module, "__all__", None)
    if names is None and module.__name__ in ALSO_PUBLIC:
        here = {n: o for n, o in vars(module).items() if not n.startswith("_")}
        names = [n for n, o in here.items() if getattr(o, "__module__", "") == module.__name__]
    return list(names or ())


def public_rooms() -> dict[str, ModuleType]:
    """Modules and packages that export something to users."""
    found = {}
    for module in pkgutil.walk_packages(deepchem_xc.__path__, "deepchem_xc."):
        parts = module.name.split(".")[1:]
        is_room = len(parts) == 1 or module.ispkg or module.name in ALSO_PUBLIC
        if is_room and not any(part.startswith("_") for part in parts):
            room = importlib.import_module(module.name)
            if exported(room):
                found[module.name] = room
    return found


def homes(rooms: dict[str, ModuleType]) -> dict[tuple[str, str], str]:
    """Where each exported (room, name) is documented, so that nothing is documented twice.

    That is the innermost room around the file that defines it, or "" for what is another package's.
    """
    found = {}
    for room, module in rooms.items():
        for name in exported(module):
            defined = str(getattr(getattr(module, name), "__module__", room))
            around = [r for r in rooms if f"{defined}.".startswith(f"{r}.")]
            exporting = [r for r in around if name in exported(rooms[r])]
            foreign = defined.startswith("deepchem.")
            found[room, name] = "" if foreign else max(exporting, key=len, default=room)
    return found


def write_reference(folder: Path) -> None:
    """One page a room, and their index; what did not change keeps its time of writing."""
    rooms = public_rooms()
    documented_at = homes(rooms)
    pages = {}
    entries = []
    for room, module in rooms.items():
        lines = [room, "=" * len(room), "", f".. automodule:: {room}"]
        elsewhere = [name for name in exported(module) if documented_at[room, name] != room]
        if elsewhere:
            lines += [f"   :exclude-members: {', '.join(elsewhere)}", "", "Exported here, too:", ""]
        for name in elsewhere:
            home, thing = documented_at[room, name], getattr(module, name)
            lines.append(
                f"- :py:obj:`{name} <{home}.{name}>`"
                if home
                else f"- ``{name}``, which is ``{thing.__module__}.{name}``"
            )
        pages[room] = "\n".join(lines) + "\n"
        first_line = (module.__doc__ or "").strip().partition("\n")[0]
        entries.append(f":doc:`{room}`\n   {first_line}\n")
    pages["index"] = "\n".join(
        [
            "API reference",
            "=============",
            "",
            "What each room exports, from its docstrings. Everything else is private.",
            "",
            *entries,
            ".. toctree::",
            "   :hidden:",
            "",
            *(f"   {room}" for room in rooms),
            "",
        ]
    )
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        page = folder / f"{name}.rst"
        if not page.exists() or page.read_text() != text:
            page.write_text(text)


def setup(app: Any) -> None:
    """Called by Sphinx: write the reference before pages are looked for."""
    app.connect("builder-inited", lambda app: write_reference(ROOT / "docs" / "api"))
