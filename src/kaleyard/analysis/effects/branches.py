"""Names that statements bind other than by assignment, and which code a call may skip."""

from __future__ import annotations

import ast
from collections.abc import Iterable

__all__ = ["Branches"]


class Branches(ast.NodeVisitor):
    """Collects names bound by imports, handlers and patterns in `bound`; `conditional` is the depth of branches."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.conditional = 0

    def block(self, body: Iterable[ast.AST]) -> None:
        for node in body:
            self.visit(node)

    def conditionally(self, *parts: ast.AST | None) -> None:
        """Visit code that a call may skip."""
        self.conditional += 1
        self.block(part for part in parts if part)
        self.conditional -= 1

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self.conditionally(*node.body, *node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        self.conditionally(node.body, node.orelse)

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        self.block(node.body)
        self.conditionally(*node.handlers)
        self.block([*node.orelse, *node.finalbody])

    visit_TryStar = visit_Try

    def visit_Raise(self, node: ast.Raise) -> None:
        self.conditionally(node.exc, node.cause)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        self.conditionally(node.msg)

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
