"""Following modules: those that are used as values, so that nobody can tell which of their names are.

The law: ``module.name`` in code counts as that name (`follow`). A module that is handed on (a default, an attribute, an
entry of a table, an argument) counts with all that it holds: functions, classes and data, save what Python keeps there
for itself. Modules in it are left out: which are there depends on what was imported before, and what its functions
use of them counts with those. Libraries go by name and version.
"""

from __future__ import annotations

import types

from lightwork.hashing import parts
from lightwork.hashing.follow import ignored, text_term, value_steps
from lightwork.hashing.trace import LIBRARY, MODULE, STATE, Trace
from lightwork.hashing.walk import Encoding, Steps, Walk


def module_steps(value: types.ModuleType, walk: Walk) -> Steps:
    """Encode a module that code uses as a value."""
    trace, name = walk.trace, value.__name__
    if not isinstance(trace, Trace):  # for a comparison within this process
        return text_term("module " + name)
    if trace.scope.is_library_module(name):
        library = trace.scope.library_name(name)
        trace.note(LIBRARY, library or name)
        trace.library(library)
        return text_term(f"module {name} {library}")
    if trace.ignores(name):
        return ignored(name)
    if trace.scope.track != "deps":
        return text_term("module " + name)
    trace.note(MODULE, name)
    space = vars(value)
    where = parts.place(name, str(getattr(value, "__file__", None) or ""))
    out = Encoding(walk.algo, b"M" + text_term("module " + name))
    for digest in trace.compiled(name):
        out.add(text_term("compiled") + digest)
    for key in sorted(space):
        if _is_pythons(key) or isinstance(space[key], types.ModuleType):
            continue
        place = f"{name}.{key}"
        out.add(text_term(key))
        if (id(space), key) in trace.state:
            trace.note(STATE, place)
        elif not trace.ignores(place):
            content = trace.see(space, key)
            out.add((yield from value_steps(content, place, parts.named(key, where), walk, place)))
    return out.term()


def _is_pythons(name: str) -> bool:
    """Whether a name is one that Python gives to each module, or reads: all but what answers for missing names."""
    return name.startswith("__") and name.endswith("__") and name != "__getattr__"
