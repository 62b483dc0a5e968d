"""Which versions of packages a file was written with, and whether those that read it are others.

Only packages whose classes are in the file count. NumPy's and pandas' do not warn: our pickles name public
functions of the one, and the other reads its older pickles by its own promise.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from typing import Final

from lightwork import errors
from lightwork.observe import notices

_COMPATIBLE: Final = {"numpy", "pandas"}
_NAMES: Final = {"sklearn": "scikit-learn"}  # what people call a package, where it is not its module's name

_known: set[bytes] = set()  # what was looked at and is no cause for a warning


def of(classes: Collection[type]) -> bytes:
    """The versions of the packages of these classes, as they go into a file."""
    if not classes:
        return b""
    names = {cls.__module__.partition(".")[0] for cls in classes}
    import json

    found = {}
    for name in sorted(names - sys.stdlib_module_names - {"__main__", "lightwork"}):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return json.dumps(found, separators=(",", ":")).encode() if found else b""


def is_known(versions: bytes) -> bool:
    """Whether these versions were checked before, and agree."""
    return not versions or versions in _known


def check(versions: bytes, name: str) -> None:
    """Warn, once a file, of packages whose version is another one by now; their classes have been loaded."""
    if is_known(versions):
        return
    import json

    drifted = []
    for package, then in json.loads(versions).items():
        now = getattr(sys.modules.get(package), "__version__", then)
        if package not in _COMPATIBLE and _minor(then) != _minor(now):
            drifted.append(f"{_NAMES.get(package, package)} {then}, read under {now}")
    if not drifted:
        _known.add(versions)
        return
    message = f"{name} was written by {'; '.join(drifted)}: what was loaded may not behave as it did then"
    notices.warn(message, errors.VersionWarning)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
