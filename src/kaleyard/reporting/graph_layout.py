"""The layout of a drawn pipeline: layers of boxes, and the curves between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from kaleyard.pipeline import Pipeline

__all__ = ["GAP", "Layers", "step_depths"]

# A position in one layer: a step's box, or the point where its edge crosses the layer.
_Spot: TypeAlias = tuple[str, int]

GAP = 60.0  # between two layers, at least
_MARGIN, _BETWEEN, _PASSING = 20.0, 18.0, 12.0
_SWEEPS, _PULL = 16, 60


def step_depths(pipeline: Pipeline) -> dict[str, int]:
    """The depth of each step: the number of steps before it on the longest path."""
    depths: dict[str, int] = {}
    for step in pipeline.steps:
        depths[step.name] = max((depths[name] + 1 for name in step.upstream), default=0)
    return depths


class Layers:
    """The steps in layers, each one layer after the last step it needs: a small version of Sugiyama's method.

    `length` is measured along the edges, `breadth` across them.
    """

    def __init__(self, pipeline: Pipeline, boxes: Mapping[str, dict[str, Any]], gap: float, *, down: bool) -> None:
        depths = step_depths(pipeline)
        self.boxes, self.down = boxes, down
        self.routes: list[tuple[list[_Spot], tuple[str, ...]]] = []
        self.before: dict[_Spot, dict[_Spot, None]] = defaultdict(dict)
        self.after: dict[_Spot, dict[_Spot, None]] = defaultdict(dict)
        spots = dict.fromkeys(depths.items())
        for start, end, names in pipeline.edges:
            # Edges of one step that cross the same layer share a spot there, so that they split as late as possible.
            route = [*((start, layer) for layer in range(depths[start], depths[end])), (end, depths[end])]
            self.routes.append((route, names))
            for spot, following in pairwise(route):
                self.after[spot][following] = self.before[following][spot] = spots[following] = None
        self.boxed = set(depths.items())
        self.rows: list[list[_Spot]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
        for spot in spots:
            self.rows[spot[1]].append(spot)
        gap += min(max(map(len, self.rows), default=0), GAP)
        self.thick = [max(self._size(spot)[0] for spot in row) for row in self.rows]
        self.starts = [_MARGIN + sum(self.thick[:n]) + gap * n for n in range(len(self.rows))]
        self.length = 2 * _MARGIN + sum(self.thick) + gap * max(len(self.rows) - 1, 0)
        self.breadth = 2 * _MARGIN + max(
            (sum(self._size(s)[1] + _BETWEEN for s in row) for row in self.rows), default=0
        )
        self.centre: dict[_Spot, float] = dict.fromkeys(spots, 0.0)

    def _size(self, spot: _Spot) -> tuple[float, float]:
        """Its size along the edges and across them."""
        if spot not in self.boxed:
            return 0.0, _PASSING
        box = self.boxes[spot[0]]
        return (box["height"], box["width"]) if self.down else (box["width"], box["height"])

    def place(self) -> None:
        """Order each layer by the positions of its neighbours, and move every spot towards them."""
        for row in self.rows:
            self._pack(row, self.centre)
        for sweep in range(_SWEEPS):
            near = self.after if sweep % 2 else self.before
            for row in self.rows[:: -1 if sweep % 2 else 1]:
                wanted = {spot: self._mean(spot, near[spot]) for spot in row}
                if sweep < _SWEEPS // 2:
                    row.sort(key=wanted.__getitem__)
                self._pack(row, wanted)
        low = {spot: self.centre[spot] - self._size(spot)[1] / 2 for spot in self.centre}
        shift = _MARGIN - min(low.values(), default=0)
        self.breadth = _MARGIN + shift + max((low[s] + self._size(s)[1] for s in low), default=0)
        self.centre = {spot: at + shift for spot, at in self.centre.items()}
        for name, layer in self.boxed:
            along, across = round(self.starts[layer], 1), round(low[name, layer] + shift, 1)
            position = {"x": across, "y": along} if self.down else {"x": along, "y": across, "width": self.thick[layer]}
            self.boxes[name].update(position)

    def _mean(self, spot: _Spot, near: Iterable[_Spot]) -> float:
        """The weighted mean of the neighbours' positions, its own without any; edges between boxes weigh more."""
        pulls = [(_PULL if {spot, neighbour} <= self.boxed else 1, self.centre[neighbour]) for neighbour in near]
        return sum(p * at for p, at in pulls) / sum(p for p, _ in pulls) if pulls else self.centre[spot]

    def _pack(self, row: Sequence[_Spot], wanted: Mapping[_Spot, float]) -> None:
        """Place a layer's spots as close to their wanted positions as their order and sizes allow."""
        # Least squares under an order is isotonic regression: neighbours that would overlap move as one block.
        blocks: list[tuple[float, int, list[tuple[_Spot, float]]]] = []
        room = 0.0
        for previous, spot in zip([*row[:1], *row], row, strict=False):
            room += (self._size(previous)[1] + self._size(spot)[1]) / 2 + _BETWEEN
            at, weight, block = wanted[spot] - room, _PULL if spot in self.boxed else 1, [(spot, room)]
            while blocks and blocks[-1][0] > at:
                before, more, earlier = blocks.pop()
                at, weight, block = (at * weight + before * more) / (weight + more), weight + more, earlier + block
            blocks.append((at, weight, block))
        self.centre.update((spot, at + room) for at, _, block in blocks for spot, room in block)

    def curve(self, route: Sequence[_Spot]) -> dict[str, Any]:
        """The edge's curve, its arrow tip, and the middle of its last bend, where its label goes."""
        (start, *passing, end) = route
        here, across = self.starts[start[1]] + self.thick[start[1]], self.centre[start]
        path = f"M{self._point(self.starts[start[1]] + self._size(start)[0], across)}L{self._point(here, across)}"
        for spot in (*passing, end):
            to, at = self.starts[spot[1]] - (6 if spot == end else 0), self.centre[spot]
            bend, middle = (here + to) / 2, self._point((here + to) / 2, (across + at) / 2)
            path += f"C{self._point(bend, across)} {self._point(bend, at)} {self._point(to, at)}"
            here, across = to + self.thick[spot[1]], at
            path += f"L{self._point(here, at)}" if spot != end else ""
        tip = " ".join(self._point(to + along, at + side) for along, side in ((6, 0), (-1, -3.5), (-1, 3.5)))
        x, y = middle.split(",")
        return {"from": start[0], "to": end[0], "path": path, "tip": f"M{tip}Z", "x": float(x), "y": float(y)}

    def _point(self, along: float, across: float) -> str:
        return f"{across:.1f},{along:.1f}" if self.down else f"{along:.1f},{across:.1f}"
