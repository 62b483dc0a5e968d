"""The names that code uses from outside of itself, and those whose values it changes: read from a syntax tree.

The law: what can be read from the code is said, and nothing of what happens to run. A name with what follows it is a
chain, ``np.random.rand``, as long as it is written; a name that is handed on is a chain by itself. What code without
source uses is read from its instructions (`codes`).

Pure: trees in, values out.
"""

from __future__ import annotations

import ast
from typing import Any, NamedTuple

Chain = tuple[str, ...]

# Methods of the containers people keep state in that change them; dunders when called by name.
MUTATING = frozenset(
    """append extend insert remove pop clear sort reverse add discard update setdefault popitem appendleft
    extendleft popleft rotate move_to_end difference_update intersection_update symmetric_difference_update
    subtract fill put itemset resize partition write writelines send throw close set register __setitem__
    __delitem__ __iadd__ __ior__ __setattr__ __delattr__""".split()  # noqa: SIM905 - a table
)


class Import(NamedTuple):
    """A name that an import statement in a definition binds."""

    bound: str
    module: str
    level: int  # dots before the module's name
    attribute: str  # the name in it; empty for ``import module``
    is_whole: bool  # ``import a.b as c``, where the name stands for a.b, and not for a


class Names(NamedTuple):
    """What a definition uses from outside of itself: dotted chains, such as ``("np", "random", "rand")``."""

    used: tuple[Chain, ...]
    changed: tuple[Chain, ...]  # what they stand for is changed in place: ``X[0] = 1``, ``X.append(1)``
    rebound: tuple[Chain, ...]  # made to stand for something else: ``global X``, ``module.X = 1``
    imported: tuple[Import, ...] = ()


def names_in(node: ast.AST) -> Names:
    """Return the names that a definition reads, and those whose values it changes."""
    finder = _Finder()
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        for statement in node.body:
            finder.visit(statement)
        for decorator in node.decorator_list:
            finder.visit(decorator)
    elif isinstance(node, ast.Lambda):
        finder.visit(node.body)
    else:
        finder.visit(node)
    used, changed, rebound = [tuple(sorted(each)) for each in (finder.used, finder.changed, finder.rebound)]
    return Names(used, changed, rebound, tuple(sorted(finder.imported)))


class _Finder:
    """Walks a definition as `ast.NodeVisitor` does, in a third of its time."""

    def __init__(self) -> None:
        self.used: set[Chain] = set()
        self.changed: set[Chain] = set()
        self.rebound: set[Chain] = set()
        self.imported: set[Import] = set()

    def visit(self, node: ast.AST) -> None:
        visit = _VISITS.get(type(node))
        if visit is not None:
            visit(self, node)
        else:
            self.within(node)

    def within(self, node: ast.AST) -> None:
        """Visit what a node holds."""
        kind = type(node)
        names = _HOLD.get(kind)
        if names is None:
            names = _HOLD[kind] = tuple([name for name in node._fields if name not in _HOLD_NOTHING])
        for name in names:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                self.visit(value)
            elif value.__class__ is list:
                for item in value:
                    if isinstance(item, ast.AST):
                        self.visit(item)

    def declaration(self, node: ast.Global | ast.Nonlocal) -> None:
        # They are rebound somewhere, else there were no need to declare them.
        self.rebound.update((name,) for name in node.names)

    def name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self.used.add((node.id,))

    def attribute(self, node: ast.Attribute) -> None:
        chain = chain_of(node)
        if chain is None:
            self.visit(node.value)
            return
        if isinstance(node.ctx, ast.Load):
            self.used.add(chain)
        else:
            self.rebound.add(chain)
            self.used.add(chain[:-1])

    def subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.change(node.value)
        self.within(node)

    def call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Attribute) and node.func.attr in MUTATING:
            self.change(node.func.value)
        chain = _fetched(node)
        if chain is None:
            self.within(node)
            return
        self.used.add(chain)
        for part in (node.func, *node.args[2:]):
            self.visit(part)

    def imports(self, node: ast.Import) -> None:
        for each in node.names:
            bound = each.asname or each.name.partition(".")[0]
            self.imported.add(Import(bound, each.name, 0, "", each.asname is not None))

    def imports_from(self, node: ast.ImportFrom) -> None:
        for each in node.names:
            self.imported.add(
                Import(each.asname or each.name, node.module or "", node.level, each.name, True)
            )

    def nothing(self, node: ast.AST) -> None:
        """Constants hold no names; and hints are not part of what runs."""

    def annotated(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        if node.value is not None:
            self.visit(node.value)

    def inner(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, node.args, *node.body):
            self.visit(part)

    def change(self, target: ast.AST) -> None:
        """Note the name behind ``X[...][...]`` or ``X.a``."""
        while isinstance(target, ast.Subscript):
            target = target.value
        chain = chain_of(target)
        if chain is not None:
            self.changed.add(chain)


_HOLD_NOTHING = frozenset({"ctx", "op", "ops", "id", "attr", "kind", "type_comment"})
_HOLD: dict[type, Chain] = {}
_VISITS: dict[type, Any] = {
    ast.Global: _Finder.declaration,
    ast.Import: _Finder.imports,
    ast.ImportFrom: _Finder.imports_from,
    ast.Nonlocal: _Finder.declaration,
    ast.Name: _Finder.name,
    ast.Attribute: _Finder.attribute,
    ast.Subscript: _Finder.subscript,
    ast.Call: _Finder.call,
    ast.Constant: _Finder.nothing,
    ast.arg: _Finder.nothing,
    ast.AnnAssign: _Finder.annotated,
    ast.FunctionDef: _Finder.inner,
    ast.AsyncFunctionDef: _Finder.inner,
}


def _fetched(call: ast.Call) -> Chain | None:
    """Return ``("a", "b")`` for ``getattr(a, "b")``: in it `a` is not used as a whole."""
    if not (isinstance(call.func, ast.Name) and call.func.id == "getattr" and len(call.args) >= 2):
        return None
    chain, name = chain_of(call.args[0]), call.args[1]
    if chain is None or not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return None
    return (*chain, name.value)


def chain_of(node: ast.AST) -> Chain | None:
    """Return ``("a", "b", "c")`` for ``a.b.c``."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return (node.id, *reversed(parts))
