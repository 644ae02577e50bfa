"""The map in a notebook, with the real widget."""

import pytest
from drawn import drawn, names

from fruits.report.explore import chosen, map_frame, scatter_map

pytest.importorskip("jscatter")


def test_the_table_has_the_places_and_the_photographs() -> None:
    material = drawn(names(3), 10)
    frame = map_frame(material.images, material.planes, material.thumbnails)
    assert frame["path"].tolist() == material.images["path"].to_pylist()
    for plane in material.planes:
        assert frame[list(plane.titles)].to_numpy().tolist() == plane.points.tolist()
    assert frame["picture"].str.startswith("data:image/jpeg;base64,").all()


def test_what_the_lasso_has_chosen_is_a_table_of_paths() -> None:
    material = drawn(names(3), 10)
    frame = map_frame(material.images, material.planes, {})
    scatter = scatter_map(frame, "LD1", "LD2", "label")
    assert chosen(scatter).empty
    scatter.selection([3, 17])
    assert chosen(scatter)["path"].tolist() == frame["path"].iloc[[3, 17]].tolist()
    assert "picture" not in chosen(scatter)
    assert scatter.color()["by"] == "label"
    assert "application/vnd.jupyter.widget-view+json" in scatter.show()._repr_mimebundle_()[0]


def test_images_without_labels_have_one_colour() -> None:
    material = drawn(names(2), 5)
    frame = map_frame(material.images, material.planes[:1], {}).drop(columns="label")
    scatter = scatter_map(frame, "PC1", "PC2", "label")
    assert scatter.color()["by"] is None
