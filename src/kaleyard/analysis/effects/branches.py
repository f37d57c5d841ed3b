"""What the statements of one scope bind, assignments aside, and which of them a call may never come to."""

from __future__ import annotations

import ast
from collections.abc import Iterable

__all__ = ["Branches"]


class Branches(ast.NodeVisitor):
    """Collects in `bound` the names that imports, handlers and patterns bind; `perhaps` counts the branches around."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.perhaps = 0

    def block(self, body: Iterable[ast.AST]) -> None:
        for node in body:
            self.visit(node)

    def maybe(self, *parts: ast.AST | None) -> None:
        """Code that not every call comes to."""
        self.perhaps += 1
        self.block(part for part in parts if part)
        self.perhaps -= 1

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.maybe(*node.body, *node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.maybe(node.body, node.orelse)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        self.block(node.body)
        self.maybe(*node.handlers)
        self.block([*node.orelse, *node.finalbody])

    def visit_TryStar(self, node: ast.TryStar) -> None:
        self.visit_Try(node)

    def visit_Raise(self, node: ast.Raise) -> None:
        self.maybe(node.exc, node.cause)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.maybe(node.msg)

    def visit_Import(self, node: ast.Import) -> None:
        self.bound.update((a.asname or a.name.partition(".")[0]) for a in node.names)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.bound.update((a.asname or a.name) for a in node.names)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.bound.add(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        if node.rest:
            self.bound.add(node.rest)
        self.generic_visit(node)
