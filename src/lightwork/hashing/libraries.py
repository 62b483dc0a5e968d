"""Whose code is it: the user's, which is followed, or a library's, which counts by name and version.

The law: the standard library and installed distributions are libraries; all else is the user's: scripts, notebooks,
modules beside them, and distributions installed as editable, whose files lie where they are worked on. Of a
library, the version's first two numbers count, since a bug fix should not empty a cache; of the standard
library only names count, so that one cache serves several Pythons.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import types

NO_FILE = "<dynamic-code>"
"""What cloudpickle, from 3.1.3 on, writes as the file of a code object."""

_FOLDERS = ("site-packages", "dist-packages")


@functools.cache
def _standard_folders() -> tuple[str, ...]:
    """The folders of the standard library: of what is in Python, and of what is compiled for this machine.

    Most installations have one for both; asking `sysconfig`, which knows all, costs 1.5 ms of a program's first call.
    """
    found = {f"{sys.base_exec_prefix}/{sys.platlibdir}/python{sys.version_info[0]}.{sys.version_info[1]}"}
    if os.sep == "/" and (file := getattr(os, "__file__", None)):
        found.add(os.path.dirname(file))
    else:
        import sysconfig

        paths = sysconfig.get_paths()
        found |= {paths[key] for key in ("stdlib", "platstdlib") if key in paths}
    return tuple({folder + os.sep for each in found for folder in (each, os.path.realpath(each))})


@functools.lru_cache(4096)
def is_library_file(filename: str) -> bool:
    """Whether a source file belongs to a library."""
    if filename.startswith("<frozen "):
        return True
    parts = filename.replace("\\", "/").split("/")
    if any(folder in parts for folder in _FOLDERS):
        return True
    return filename.startswith((*_standard_folders(), _OWN))


_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def is_library_module(name: str | None) -> bool:
    """Whether a module, by its name, belongs to a library."""
    if not name or name in ("__main__", "__mp_main__"):
        return False
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names or root in ("builtins", "lightwork"):
        return True
    filename = getattr(sys.modules.get(name) or sys.modules.get(root), "__file__", None)
    return isinstance(filename, str) and is_library_file(filename)


def library_name(module: str | None, filename: str | None = None, versions: str = "minor") -> str:
    """Return a library's name and version, as far as they count: ``numpy 2.4``; ``""`` for the standard library.

    Of the version count the first two numbers (``"minor"``), all of it (``"exact"``), or nothing (``"none"``).
    """
    root = (module or "").partition(".")[0]
    if filename not in (None, NO_FILE) and not is_library_module(root):
        # Decorators give their wrappers the module of what they wrap; the file does not lie.
        root = _root_of_file(filename)
    if not root or root in sys.stdlib_module_names or root == "builtins":
        return ""
    if versions == "none":
        return root
    version = _version(root)
    minor = re.match(r"\d+(\.\d+)?", version) if versions == "minor" else None
    return f"{root} {minor.group() if minor else version}"


def _root_of_file(filename: str) -> str:
    parts = filename.replace("\\", "/").split("/")
    for folder in _FOLDERS:
        if folder in parts:
            return parts[len(parts) - parts[::-1].index(folder)].removesuffix(".py")
    return "lightwork" if filename.startswith(_OWN) else ""


@functools.lru_cache(1024)
def _version(root: str) -> str:
    version: object = getattr(sys.modules.get(root), "__version__", None)
    if isinstance(version, str):
        return version
    from importlib import metadata

    try:
        return metadata.version(root)
    except metadata.PackageNotFoundError:
        names = metadata.packages_distributions().get(root)
        return metadata.version(names[0]) if names else ""


def is_library_code(code: types.CodeType, module: str | None) -> bool:
    """Whether a code object belongs to a library."""
    filename = code.co_filename
    if filename == NO_FILE:
        return is_library_module(module) or _is_library_elsewhere((module or "").partition(".")[0])
    if filename.startswith("<") and not filename.startswith("<frozen "):
        return is_library_module(module)
    return is_library_file(filename)


def _is_library_elsewhere(root: str) -> bool:
    """Whether code came by value from a library that is installed, but has not been imported in this process."""
    return root not in sys.modules and not root.startswith("__") and is_library_root(root)


@functools.lru_cache(1024)
def is_library_root(root: str) -> bool:
    """Whether a package belongs to a library; it need not have been imported."""
    if root in sys.stdlib_module_names or root in ("builtins", "lightwork"):
        return True
    if not root:
        return False
    module = sys.modules.get(root)
    filename: str | None = getattr(module, "__file__", None)
    if module is None:
        from importlib.util import find_spec

        spec = find_spec(root)
        filename = spec.origin if spec else None
    return filename is not None and is_library_file(filename)
