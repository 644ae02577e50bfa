"""The map in a notebook, tested with the real widget."""

import numpy as np
import pandas as pd
import pytest
from drawn import drawn, names

from fruits.report.explore import COLOURS, chosen, map_frame, scatter_map

pytest.importorskip("jscatter")


def test_the_table_has_the_coordinates_and_the_photographs() -> None:
    report = drawn(names(3), 10)
    frame = map_frame(report.images, report.planes, report.thumbnails)
    assert frame["path"].tolist() == report.images["path"].to_pylist()
    for plane in report.planes:
        assert frame[list(plane.titles)].to_numpy().tolist() == plane.points.tolist()
    assert frame["picture"].str.startswith("data:image/jpeg;base64,").all()


def test_the_selection_of_the_lasso_is_a_table_of_paths() -> None:
    report = drawn(names(3), 10)
    frame = map_frame(report.images, report.planes, {})
    scatter = scatter_map(frame, "LD1", "LD2", "label")
    assert chosen(scatter).empty
    scatter.selection([3, 17])
    assert chosen(scatter)["path"].tolist() == frame["path"].iloc[[3, 17]].tolist()
    assert "picture" not in chosen(scatter)
    assert scatter.color()["by"] == "label"
    assert "application/vnd.jupyter.widget-view+json" in scatter.show()._repr_mimebundle_()[0]


def test_images_without_labels_have_one_colour() -> None:
    report = drawn(names(2), 5)
    frame = map_frame(report.images, report.planes[:1], {}).drop(columns="label")
    scatter = scatter_map(frame, "PC1", "PC2", "label")
    assert scatter.color()["by"] is None


def test_missing_labels_are_named_as_on_the_map() -> None:
    report = drawn(names(2), 5)
    frame = map_frame(report.images, report.planes[:1], {})
    frame.loc[3, ["label", "split"]] = None
    scatter = scatter_map(frame, "PC1", "PC2", "label")
    assert scatter.widget.data.loc[3, ["label", "split"]].tolist() == ["no label", "no split"]


def test_of_very_many_labels_the_most_frequent_have_a_colour() -> None:
    labels = ["frequent"] * 3 + [f"label {number}" for number in range(1000)]
    x = np.arange(len(labels), dtype=np.float32)
    frame = pd.DataFrame({"path": labels, "label": labels, "x": x, "y": x, "picture": ""})
    scatter = scatter_map(frame, "x", "y", "label")
    coloured = scatter.widget.data[scatter.color()["by"]].astype(str)
    assert coloured.nunique() == COLOURS
    assert set(coloured[:3]) == {"frequent"}
    assert set(coloured) - set(labels) == {"others"}
    scatter.selection([3, 500])
    assert chosen(scatter)["label"].tolist() == ["label 0", "label 497"]
    assert chosen(scatter).columns.tolist() == ["path", "label", "x", "y"]
