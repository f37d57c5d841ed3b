"""Which values share objects, and which only the memory of their arrays."""

from __future__ import annotations

import numpy as np

from kaleyard.runtime.exchange.aliases import travelling_together


def test_values_that_hold_views_of_one_array_do_not_travel_in_one_pickle() -> None:
    data = np.arange(8.0)
    images = data.reshape(2, 4)
    values = {"digits": {"data": data, "images": images}, "images": images}
    assert travelling_together(values, [("digits", "images")]) == []


def test_values_that_hold_the_same_views_do() -> None:
    data = np.arange(8.0)
    images = data.reshape(2, 4)
    values = {"one": {"data": data, "images": images}, "other": [images, data]}
    assert travelling_together(values, [("one", "other")]) == [["one", "other"]]
