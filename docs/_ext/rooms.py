"""The API reference: one page a room of the package, written from the docstrings.

A page lists what a room exports, under the name that people import. `rooms` finds the rooms, so a
new one needs no change here.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
from pathlib import Path
from typing import Any

from generated import replace_pages
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.util.nodes import make_refnode

import memcom

NOT_IMPORTED = ("cli", "doctor")  # commands, described with the command line


def rooms() -> list[str]:
    """List the rooms of the package, ``memcom.addresses`` first."""
    names = sorted(module.name for module in pkgutil.iter_modules(memcom.__path__))
    return [
        f"memcom.{name}" for name in names if not name.startswith("_") and name not in NOT_IMPORTED
    ]


def exported(room: str) -> list[str]:
    """List the names that a room exports: ``__all__``, or all public ones defined inside it."""
    module = importlib.import_module(room)
    if listed := getattr(module, "__all__", None):
        return list(listed)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and f"{getattr(value, '__module__', '')}.".startswith(f"{room}.")
    ]


def entry(room: str, name: str) -> str:
    """Name the directive that documents an export."""
    value = getattr(importlib.import_module(room), name)
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if callable(value) else "autodata"


def summary(room: str, name: str) -> str:
    """Return the first sentence of an export's docstring; empty for a value."""
    value = getattr(importlib.import_module(room), name)
    text = inspect.getdoc(value) if callable(value) else ""
    first = " ".join((text or "").split("\n\n")[0].split())
    return re.split(r"(?<=\w[.:]) (?=[A-Z])", first)[0].replace("::", ".")


def page(room: str) -> str:
    """Write the page of a room."""
    names = exported(room)
    lines = [room, "=" * len(room), "", f".. automodule:: {room}", "   :no-members:", ""]
    lines += [f".. currentmodule:: {room}", "", ".. list-table::", "   :class: exports", ""]
    for name in names:
        lines += [f"   * - :py:obj:`{name}`", f"     - {summary(room, name)}"]
    for name in names:
        lines += ["", f".. {entry(room, name)}:: {name}"]
    return "\n".join(lines) + "\n"


def contents() -> str:
    """Write the page that lists the rooms."""
    lines = ["API reference", "=============", ""]
    lines += ["One page a room of the package, from the docstrings. ``import memcom`` gives the"]
    lines += ["layers, ``plan``, ``build`` and what else people type daily; each of these names is"]
    lines += ["documented in its own room.", "", ".. toctree::", "   :maxdepth: 1", ""]
    lines += [f"   {room}" for room in rooms()]
    return "\n".join(lines) + "\n"


def write(app: Sphinx) -> None:
    """Write all pages before Sphinx looks for sources."""
    pages = {f"{room}.rst": page(room) for room in rooms() if exported(room)}
    replace_pages(Path(app.srcdir) / "api", {"index.rst": contents(), **pages})


# --- links in docstrings --------------------------------------------------------------------------


def find(target: str, module: str | None) -> Any:
    """Import what a docstring names, by its full name or relative to its module; None if absent."""
    for full in (target, f"{module}.{target}"):
        if full.startswith("memcom."):
            try:
                return pkgutil.resolve_name(full)
            except (ImportError, AttributeError, ValueError):
                continue
    return None


def resolve(app: Sphinx, env: Any, node: Any, contnode: Any) -> Any:
    """Link a name to the page that documents it, and leave a private name as plain code."""
    if node.get("refdomain") != "py":
        return None
    value = find(node["reftarget"], node.get("py:module"))
    if value is None:
        return None
    objects = env.domains["py"].objects
    names = [f"{room}.{name}" for room in rooms() for name in exported(room)]
    named = {id(find(name, None)): name for name in names}
    name = value.__name__ if isinstance(value, types.ModuleType) else named.get(id(value))
    if name not in objects:
        return contnode
    known = objects[name]
    return make_refnode(app.builder, node["refdoc"], known.docname, known.node_id, contnode, name)


def plain_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returns: str
) -> tuple[str, str] | None:
    """Write a default that is made anew for every object as ``...``; Sphinx parses no ``<``."""
    if "<factory>" not in (signature or ""):
        return None
    return signature.replace("<factory>", "..."), returns


def skip_field(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """Leave out a field of a named tuple; its class describes it."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the pages and the links."""
    app.connect("builder-inited", write, priority=100)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-signature", plain_signature)
    app.connect("autodoc-skip-member", skip_field)
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    return {"parallel_read_safe": True, "parallel_write_safe": True}
