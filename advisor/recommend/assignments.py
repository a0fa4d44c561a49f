"""Where a Python file gives a name a number, with the name's path.

By assignment (in a module, a class such as ``Config``, or a function), as a dataclass field's default, as a
parameter's default, or as a keyword argument of a call. The file is read, never run.
"""
# ruff: noqa: N802 - libcst calls these methods by the names of its nodes

from collections.abc import Sequence
from typing import Any, TypeAlias

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from advisor.records import record

Number: TypeAlias = int | float
NumberNode: TypeAlias = cst.Integer | cst.Float


@record
class Place:
    """Where a name is given something: its path, such as ``module.Config.train_lr``, and the number if it is one.

    ``is_computed``: it is assigned the result of an expression.
    """

    path: str
    line: int
    number: NumberNode | None
    is_computed: bool = False

    @property
    def value(self) -> Number | None:
        """The number itself."""
        return None if self.number is None else self.number.evaluated_value


def find_places(module: cst.Module) -> list[Place]:
    """Everything that a name is given, numbers or not, in the order of the file."""
    finder = _Finder()
    MetadataWrapper(module, unsafe_skip_copy=True).visit(finder)  # as parsed, no node is in it twice
    return finder.places


def replace_numbers(module: cst.Module, replacements: Sequence[tuple[NumberNode, str]]) -> cst.Module:
    """The module with other numbers in place of some of its own."""
    return module.visit(_Replacer(replacements))


class _Replacer(cst.CSTTransformer):
    def __init__(self, replacements: Sequence[tuple[NumberNode, str]]) -> None:
        super().__init__()
        self._replacements = replacements

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: cst.CSTNodeT) -> Any:
        """The node, or the number that takes its place; its parentheses stay."""
        for number, text in self._replacements:
            if number is original_node:
                kind = cst.Integer if text.isdigit() else cst.Float
                return kind(value=text, lpar=number.lpar, rpar=number.rpar)
        return super().on_leave(original_node, updated_node)


class _Finder(cst.CSTVisitor):
    """Comes by everything that a name is given, and notes the name's path and line."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        super().__init__()
        self.places: list[Place] = []
        self._scopes = ["module"]

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        self._scopes.append(node.name.value)

    def leave_ClassDef(self, original_node: cst.ClassDef) -> None:
        self._scopes.pop()

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        self._scopes.append(node.name.value)

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        self._scopes.pop()

    def visit_Assign(self, node: cst.Assign) -> None:
        shared = len(node.targets) > 1  # a = b = 1: changing b's number would change a
        for target in node.targets:
            self._note(_dotted(target.target), node.value, None if shared else _number(node.value), assigns=True)

    def visit_AnnAssign(self, node: cst.AnnAssign) -> None:
        if node.value is not None:
            self._note(_dotted(node.target), node.value, _number(node.value), assigns=True)

    def visit_AugAssign(self, node: cst.AugAssign) -> None:
        self._note(_dotted(node.target), node, None, assigns=True)

    def visit_Param(self, node: cst.Param) -> None:
        if node.default is not None:
            self._note(node.name.value, node.default, _number(node.default))

    def visit_Call(self, node: cst.Call) -> None:
        called = _dotted(node.func)
        for argument in node.args:
            if called is not None and argument.keyword is not None:
                self._note(f"{called}().{argument.keyword.value}", argument.value, _number(argument.value))

    def _note(self, name: str | None, value: cst.CSTNode, number: NumberNode | None, *, assigns: bool = False) -> None:
        if name is None:
            return
        refers = isinstance(value, (cst.Name, cst.Attribute))  # self.train_lr = train_lr
        self.places.append(
            Place(
                path=".".join([*self._scopes, name]),
                line=self.get_metadata(PositionProvider, value).start.line,
                number=number,
                is_computed=assigns and number is None and not refers,
            )
        )


def _number(value: cst.BaseExpression) -> NumberNode | None:
    """The number that a value is, or that a dataclass field has as its default."""
    if isinstance(value, (cst.Integer, cst.Float)):
        return value
    if isinstance(value, cst.Call) and (_dotted(value.func) or "").split(".")[-1] in ("field", "Field"):
        defaults = [one.value for one in value.args if one.keyword is not None and one.keyword.value == "default"]
        return next((one for one in defaults if isinstance(one, (cst.Integer, cst.Float))), None)
    return None


def _dotted(node: cst.BaseExpression) -> str | None:
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        owner = _dotted(node.value)
        return None if owner is None else f"{owner}.{node.attr.value}"
    return None
