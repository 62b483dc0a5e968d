"""The syntax of running code: found in its source file, and believed only if it is what runs.

The law: after an edit of a module that is already imported, the file says one thing and the process does another.
So the definition at the code's line is compiled as Python compiled the file, and counts only if the result equals
the running code object, positions aside. Otherwise the code object itself counts (with the Python version, since its
bytes differ between versions), and whoever asks is told why.

Where there is no source at all (``exec``, a prompt that keeps none), the code object counts as well; so too under
pytest, which rewrites ``assert`` on import: there nothing is wrong, and nothing is said.

A function that travels by value arrives without its module: neither the source of a notebook's cell nor what its
decorators are can be found there. So definitions travel with remembered functions (`to_send`, `receive`). cloudpickle
does not say which file it came from: its module's is looked into, and a definition from no known file counts only
while all that were received for this code and line agree.
"""

from __future__ import annotations
import __future__

import ast
import linecache
import sys
import types
import weakref
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeVar

from lightwork.hashing import syntax
from lightwork.hashing.buffers import XXH3_128
from lightwork.hashing.chains import Names, chain_of, names_in
from lightwork.hashing.codes import (
    digest_code,
    global_names,
    imported_by,
    inner_codes,
    names_of_code,
    same_code,
)
from lightwork.hashing.libraries import NO_FILE

K = TypeVar("K")
V = TypeVar("V")

_FUTURE = 0
for _name in __future__.all_feature_names:
    _FUTURE |= getattr(__future__, _name).compiler_flag


class Cells(NamedTuple):
    """The variables of enclosing functions that code changes in place, and those that it rebinds."""

    changed: frozenset[str]
    rebound: frozenset[str]


NOTHING_CHANGED = Cells(frozenset(), frozenset())


class Definition(NamedTuple):
    """What is known of a code object."""

    digest: bytes  # of its syntax, or of itself
    names: Names
    token: bytes  # of the code object itself: cheap, and comparable on the same Python only
    imported: tuple[str, ...]  # the modules that its body imports
    changed_file: str | None  # the source file that no longer holds it
    cells: Cells = NOTHING_CHANGED  # what it changes of the variables of functions around it
    filename: str = NO_FILE  # where its code is from


class File(NamedTuple):
    """A source file that was looked into: its lines, its tree, and the code of statements that were compiled."""

    lines: list[str]
    tree: ast.Module | None
    prelude: list[ast.stmt]
    codes: dict[tuple[int, int], tuple[types.CodeType, ...]]


Sent = tuple[int, Definition]
"""A definition, and the line of its code."""

_known: dict[int, tuple[weakref.ref[types.CodeType], Definition]] = {}
_received: dict[tuple[bytes, str, int], Definition] = {}
_received_without_file: dict[tuple[bytes, int], Definition | None] = {}  # None: they do not agree
_RECEIVED = 4096  # definitions that are kept of those other processes sent; some 300 bytes each
_trees: dict[str, File] = {}
_TREES = 16  # files whose trees are kept: a first look at a function visits few files, again and again


def definition_of(code: types.CodeType, space: dict[str, Any]) -> Definition:
    """Return what a code object says; `space` are the globals it runs in."""
    known = _known.get(id(code))
    if known is not None and known[0]() is code:
        return known[1]
    made = _read(code, space)
    key = id(code)
    _known[key] = (weakref.ref(code, lambda _: _known.pop(key, None)), made)
    return made


def to_send(codes: Iterable[types.CodeType]) -> tuple[Sent, ...]:
    """Return what is known of code objects, for a process that gets them by value. A warning was given here."""
    known = [(code.co_firstlineno, _known[id(code)][1]) for code in codes if id(code) in _known]
    # Of code from nowhere, whoever gets it sees what is known here.
    return tuple(
        [(line, each._replace(changed_file=None)) for line, each in known if each.filename != NO_FILE]
    )


def receive(sent: Iterable[Sent]) -> None:
    """Take over what another process knows of code that comes from there; of one file, the latest holds."""
    for line, definition in sent:
        place = definition.token, line
        known = _received_without_file.get(place, definition)
        agreed = known is not None and known._replace(filename="") == definition._replace(filename="")
        _keep(_received_without_file, place, definition if agreed else None)
        _keep(_received, (definition.token, definition.filename, line), definition)


def _keep(table: dict[K, V], key: K, value: V) -> None:
    table.pop(key, None)
    while len(table) >= _RECEIVED:
        table.pop(next(iter(table)))
    table[key] = value


def file_of(code: types.CodeType, space: dict[str, Any]) -> str:
    """Return the file that code is from; code that came by value may not say it."""
    return code.co_filename if code.co_filename != NO_FILE else definition_of(code, space).filename


def _is_away(space: dict[str, Any]) -> bool:
    """Whether globals are no module's of this process: those of a function that came by value."""
    module = sys.modules.get(space.get("__name__", ""))
    return module is None or vars(module) is not space


def _received_for(code: types.CodeType, token: bytes, filename: str) -> Definition | None:
    line = code.co_firstlineno
    if filename == NO_FILE:
        return _received_without_file.get((token, line))
    return _received.get((token, filename, line))


def _stated_file(code: types.CodeType, space: dict[str, Any]) -> str:
    """Return the file that code says it is from, or its module where it does not; cloudpickle keeps the latter."""
    filename = code.co_filename
    if filename == NO_FILE and isinstance(space.get("__file__"), str):
        filename = space["__file__"]
    return filename


def _read(code: types.CodeType, space: dict[str, Any]) -> Definition:
    token, filename = digest_code(code), _stated_file(code, space)
    if _received and _is_away(space):
        received = _received_for(code, token, filename)
        if received is not None:
            return received
    found = _find(code, filename, space)
    if not isinstance(found, ast.AST) and code.co_filename == NO_FILE:
        found, filename = None, NO_FILE  # not in its module's file: that does not mean that the file changed
    if isinstance(found, ast.AST):
        names = names_in(found)
        ours = frozenset(id(each) for each in getattr(found, "decorator_list", ()) if _is_ours(each, space))
        digest = XXH3_128.once(b"syntax" + syntax.encode(found, ours))
        return Definition(
            digest, _only_global(names, code), token, imported_by(code), None, _cells(names, code), filename
        )
    version = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}".encode()
    digest = XXH3_128.once(b"code" + version + token)
    return Definition(digest, names_of_code(code), token, imported_by(code), found, NOTHING_CHANGED, filename)


def _is_ours(decorator: ast.AST, space: dict[str, Any]) -> bool:
    """Whether a decorator is one of lightwork's own, whose options must not change the result."""
    if isinstance(decorator, ast.Call):
        decorator = decorator.func
    chain = chain_of(decorator)
    value = space.get(chain[0]) if chain else None
    home = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return isinstance(home, str) and home.partition(".")[0] == "lightwork"


# --- from code to source ------------------------------------------------------------------------------


def _find(code: types.CodeType, filename: str, space: dict[str, Any]) -> ast.AST | str | None:
    """Find the definition that compiles to `code`: its tree, or the file that lacks it, or None without source."""
    lines = linecache.getlines(filename, space)
    if not lines:
        return None
    found = _match(code, filename, lines)
    if found is None:
        linecache.checkcache(filename)
        fresh = linecache.getlines(filename, space)
        if fresh != lines:
            found = _match(code, filename, fresh)
    if found is None and "@pytest_ar" not in space:
        return filename
    return found


def _match(code: types.CodeType, filename: str, lines: list[str]) -> ast.AST | None:
    file = _file(filename, lines)
    if file.tree is None:
        return None
    line = code.co_firstlineno
    for statement in file.tree.body:
        if _first_line(statement) <= line <= (statement.end_lineno or 0):
            return _match_in(code, statement, file)
    return None


def _file(filename: str, lines: list[str]) -> File:
    known = _trees.get(filename)
    if known is not None and (known.lines is lines or known.lines == lines):
        return known
    try:
        tree: ast.Module | None = ast.parse("".join(lines))
    except (SyntaxError, ValueError, RecursionError):
        tree = None  # being edited at this moment, or not Python: it does not hold the running code
    _trees.pop(filename, None)
    while len(_trees) >= _TREES:
        _trees.pop(next(iter(_trees)))
    made = _trees[filename] = File(lines, tree, _prelude(tree), {})
    return made


def _prelude(tree: ast.Module | None) -> list[ast.stmt]:
    """Return statements that bear what else in a module has a say in how Python compiles a definition.

    Two things do: calls of attributes of names that the module imports, and, from 3.12 on, calls of ``super`` where
    the module itself mentions it.
    """
    bound: set[str] = set()
    mentions_super = False
    queue: list[ast.AST] = [tree] if tree else []
    while queue:
        node = queue.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name):
            mentions_super = mentions_super or node.id == "super"
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            queue.extend(ast.iter_child_nodes(node))
    names = [ast.alias(name, None, lineno=1, col_offset=0) for name in sorted(bound - {"*"})]
    prelude: list[ast.stmt] = [ast.Import(names, lineno=1, col_offset=0)] if names else []
    if mentions_super:
        place = {"lineno": 1, "col_offset": 0}
        prelude.append(ast.Expr(ast.Name("super", ast.Load(), **place), **place))
    return prelude


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", None)
    return decorators[0].lineno if decorators else node.lineno  # type: ignore[no-any-return]


def _match_in(code: types.CodeType, statement: ast.stmt, file: File) -> ast.AST | None:
    if isinstance(statement, ast.FunctionDef) and _first_line(statement) == code.co_firstlineno:
        nodes: list[Any] = [statement] if statement.name == code.co_name else []
        if code.co_name != "<lambda>":
            return _match_one(code, statement, nodes, file)
    kinds: Any = ast.Lambda if code.co_name == "<lambda>" else (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [
        node
        for node in ast.walk(statement)
        if isinstance(node, kinds)
        and _first_line(node) == code.co_firstlineno
        and getattr(node, "name", "<lambda>") == code.co_name
    ]
    if len(nodes) == 1:
        return _match_one(code, statement, nodes, file)
    # Several on one line: compile a copy in which each lies on lines of its own, and see which one is `code`.
    import copy

    spread = copy.deepcopy(statement)
    twins = dict(zip(map(id, ast.walk(statement)), ast.walk(spread), strict=True))
    starts = [_SPREAD * (1 + place) + code.co_firstlineno for place in range(len(nodes))]
    for node, start in zip(nodes, starts, strict=True):
        _move(
            twins[id(node)], start - code.co_firstlineno
        )  # by whole spreads: the line in its file stays known
    made = _compile(code, spread, file.prelude)
    matching = [
        node
        for node, start in zip(nodes, starts, strict=True)
        if any(each.co_firstlineno == start and same_code(code, each) for each in made)
    ]
    return _least(matching)


def _match_one(code: types.CodeType, statement: ast.stmt, nodes: list[Any], file: File) -> ast.AST | None:
    key = (statement.lineno, code.co_flags & _FUTURE)
    codes = file.codes.get(key)
    if codes is None:
        codes = file.codes[key] = _compile(code, statement, file.prelude)
    line, name = code.co_firstlineno, code.co_name
    here = [each for each in codes if each.co_firstlineno == line and each.co_name == name]
    return _least(nodes if any(same_code(code, each) for each in here) else [])


_SPREAD = 1 << 20  # lines between definitions that are told apart: more than any file has


def _move(node: ast.AST, lines: int) -> None:
    """Move a definition and all in it down. The inner ones come later in the walk and are moved on from there."""
    for each in ast.walk(node):
        if isinstance(each, ast.expr | ast.stmt | ast.arg | ast.keyword | ast.excepthandler):
            each.lineno = each.lineno % _SPREAD + lines
            each.end_lineno = (each.end_lineno or each.lineno) % _SPREAD + lines


def _least(nodes: list[ast.AST]) -> ast.AST | None:
    """Choose among definitions that compile alike, such as ``lambda: 1 + 1`` and ``lambda: 2``: any would be right."""
    return min(nodes, key=syntax.encode) if len(nodes) > 1 else next(iter(nodes), None)


def _compile(
    code: types.CodeType, statement: ast.stmt, prelude: list[ast.stmt]
) -> tuple[types.CodeType, ...]:
    """Compile a statement as `code` was, and return all code in it."""
    try:
        module = ast.Module([*prelude, statement], [])
        whole = compile(module, code.co_filename, "exec", flags=code.co_flags & _FUTURE, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    return tuple(inner_codes(whole))


def _only_global(names: Names, code: types.CodeType) -> Names:
    found = global_names(code)
    found.update([each.bound for each in names.imported])
    used, changed, rebound = [
        tuple([chain for chain in chains if chain[0] in found])
        for chains in (names.used, names.changed, names.rebound)
    ]
    return Names(used, changed, rebound, names.imported)


def _cells(names: Names, code: types.CodeType) -> Cells:
    """Keep what is surely a variable of an enclosing function: no code inside has a variable of its own so named."""
    if not code.co_freevars:
        return NOTHING_CHANGED
    free = set(code.co_freevars)
    for inner in inner_codes(code):
        free.difference_update(inner.co_varnames, inner.co_cellvars)
    attributes = [chain for chain in names.rebound if len(chain) > 1]
    changed = {chain[0] for chain in (*names.changed, *attributes)}
    rebound = {chain[0] for chain in names.rebound if len(chain) == 1}
    return Cells(frozenset(changed & free), frozenset(rebound & free))
