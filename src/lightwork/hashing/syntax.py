"""A definition's syntax tree into canonical bytes.

The law: two definitions have the same bytes if they mean the same to Python save for what is only read by people:
comments, layout, docstrings and type hints are left out. Where these act they stay: docstrings if the definition
mentions ``__doc__``; hints of class fields, and of functions with decorators (dataclasses, pydantic, singledispatch
read them). The bytes are the same on every Python we support, which `ast.dump` is not: fields go by the table
below, not by the running Python's, and f-strings are brought to one form.

Pure: trees in, values out. No source is read here, nothing is compiled or looked up.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from marshal import dumps
from typing import Any

# The fields that count, in our order. Nodes that are not listed (those of later Pythons) go by all their fields.
_FIELDS: dict[str, tuple[str, ...]] = {
    line.split(":")[0]: tuple(line.split(":")[1].split())
    for line in """\
FunctionDef: name args body decorator_list
AsyncFunctionDef: name args body decorator_list
ClassDef: name bases keywords body decorator_list
Return: value
Delete: targets
Assign: targets value
AugAssign: target op value
AnnAssign: target value
For: target iter body orelse
AsyncFor: target iter body orelse
While: test body orelse
If: test body orelse
With: items body
AsyncWith: items body
Match: subject cases
Raise: exc cause
Try: body handlers orelse finalbody
TryStar: body handlers orelse finalbody
Assert: test msg
Import: names
ImportFrom: module names level
Global: names
Nonlocal: names
Expr: value
Pass:
Break:
Continue:
BoolOp: op values
NamedExpr: target value
BinOp: left op right
UnaryOp: op operand
Lambda: args body
IfExp: test body orelse
Dict: keys values
Set: elts
ListComp: elt generators
SetComp: elt generators
DictComp: key value generators
GeneratorExp: elt generators
Await: value
Yield: value
YieldFrom: value
Compare: left ops comparators
Call: func args keywords
FormattedValue: value conversion format_spec
JoinedStr: values
Constant: value
Attribute: value attr
Subscript: value slice
Starred: value
Name: id
List: elts
Tuple: elts
Slice: lower upper step
comprehension: target iter ifs is_async
ExceptHandler: type name body
arguments: posonlyargs args vararg kwonlyargs kw_defaults kwarg defaults
arg: arg
keyword: arg value
alias: name asname
withitem: context_expr optional_vars
match_case: pattern guard body
MatchValue: value
MatchSingleton: value
MatchSequence: patterns
MatchMapping: keys patterns rest
MatchClass: cls patterns kwd_attrs kwd_patterns
MatchStar: name
MatchAs: pattern name
MatchOr: patterns""".splitlines()
}
_DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

Plain = tuple[bytes, tuple[str, ...]]
"""How most nodes are written: what they begin with, and the fields that follow."""

_PLAIN: dict[type, Plain] = {}


def encode(node: ast.AST, without: frozenset[int] = frozenset()) -> bytes:
    """Write a definition in canonical bytes; `without` holds the ids of decorators that do not count."""
    written = _written(node, without, keeps_doc=False)
    # A mention is a name among what was written: few definitions have to be searched for one.
    if b"__doc__" in written and any(
        (isinstance(n, ast.Attribute) and n.attr == "__doc__")
        or (isinstance(n, ast.Name) and n.id == "__doc__")
        for n in ast.walk(node)
    ):
        return _written(node, without, keeps_doc=True)
    return written


def _written(node: ast.AST, without: frozenset[int], *, keeps_doc: bool) -> bytes:
    writer = _Writer(keeps_doc, without)
    writer.node(node)
    return b"".join(writer.out)


class _Writer:
    def __init__(self, keeps_doc: bool, without: frozenset[int]) -> None:
        self.out: list[bytes] = []
        self.keeps_doc = keeps_doc
        self.without = without
        self.hints = False  # whether hints of the function that is being written count
        self.in_class = False

    def value(self, value: Any) -> None:
        if isinstance(value, ast.AST):
            self.node(value)
        elif isinstance(value, list):
            self.out.append(b"[%d:" % len(value))
            for item in value:
                self.value(item)
        else:
            # Texts, numbers and None: atoms, whose form is the same on every Python.
            self.out.append(dumps(value, 2))

    def node(self, node: ast.AST) -> None:
        """Write a node. A first look at code spends much of its time here."""
        plain = _PLAIN.get(type(node)) or self.special(node)
        if plain is None:
            return
        head, names = plain
        self.out.append(head)
        for name in names:
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                self.node(value)
            elif value.__class__ is list:
                self.value(value)
            else:
                self.out.append(dumps(value, 2))

    def special(self, node: ast.AST) -> Plain | None:
        """Write a node of a kind with rules of its own, or say how it is written."""
        kind = type(node).__name__
        if isinstance(node, _DOCUMENTED):
            self.definition(node, kind)
        elif isinstance(node, ast.Lambda):
            outer, self.hints, self.in_class = (self.hints, self.in_class), False, False
            self.fields(node, kind, _FIELDS[kind])
            self.hints, self.in_class = outer
        elif isinstance(node, ast.AnnAssign):
            self.annotated(node)
        elif isinstance(node, ast.JoinedStr):
            self.open(kind)
            self.value(list(_merged(node.values)))
        elif isinstance(node, ast.FormattedValue) and isinstance(node.format_spec, ast.JoinedStr):
            spec: Any = node.format_spec if any(_merged(node.format_spec.values)) else None
            self.open(kind)
            for part in (node.value, node.conversion, spec):
                self.value(part)
        elif isinstance(node, ast.arg) and self.hints:
            self.open("arg with hint")
            self.value(node.arg)
            self.value(node.annotation)
        else:
            plain = f"({kind} ".encode(), _FIELDS.get(kind, node._fields)
            if not isinstance(node, ast.FormattedValue | ast.arg):  # these have rules at times
                _PLAIN[type(node)] = plain
            return plain
        return None

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, kind: str) -> None:
        outer = (self.hints, self.in_class)
        decorators = [each for each in node.decorator_list if id(each) not in self.without]
        self.in_class = isinstance(node, ast.ClassDef)
        self.hints = bool(decorators) and not self.in_class
        body = node.body
        if not self.keeps_doc and _is_doc(body[0]):
            body = body[1:]
        self.open(kind)
        for name in _FIELDS[kind]:
            if name == "body":
                hints, self.hints = self.hints, False
                self.value(body)
                self.hints = hints
            elif name == "decorator_list":
                self.value(decorators)
            else:
                self.value(getattr(node, name))
        if self.hints and not isinstance(node, ast.ClassDef):
            self.value(node.returns)
        self.hints, self.in_class = outer

    def annotated(self, node: ast.AnnAssign) -> None:
        """``x: int = 1`` is ``x = 1`` to a function; in a class the hint makes a field."""
        if self.in_class:
            self.fields(node, "AnnAssign field", ("target", "annotation", "value"))
        elif node.value is None:
            self.fields(node, "AnnAssign", ("target",))
        else:
            self.open("Assign")
            self.value([node.target])
            self.value(node.value)

    def fields(self, node: ast.AST, kind: str, names: tuple[str, ...]) -> None:
        self.open(kind)
        for name in names:
            self.value(getattr(node, name, None))

    def open(self, kind: str) -> None:
        self.out.append(b"(" + kind.encode() + b" ")


def _is_doc(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _merged(values: list[ast.expr]) -> Iterator[ast.expr]:
    """Join neighbouring texts of an f-string and drop empty ones: Pythons differ in where they cut."""
    text = ""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text += value.value
            continue
        if text:
            yield ast.Constant(text)
            text = ""
        yield value
    if text:
        yield ast.Constant(text)
