import hashlib
import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from planted import encoded, images_of, picture, thumbnails_of
from sklearn.neighbors import NearestNeighbors

from fruits.quality.atlas import ATLAS, atlas_table
from fruits.quality.atlas_neighbours import nearest_rows


@pytest.mark.parametrize(("rows", "block"), [(700, 1 << 24), (700, 700 * 64), (11, 1)])
def test_neighbours_agree_with_scikit_learn(
    rows: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fruits.quality.atlas_neighbours._PRODUCTS", block)
    # Far from the origin, like components that are not centred.
    x = (np.random.default_rng(0).normal(size=(rows, 20)) + 50).astype(np.float32)
    places, distances = nearest_rows(x)
    theirs = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(x.astype(np.float64))
    expected, at = theirs.kneighbors(x.astype(np.float64))
    np.testing.assert_array_equal(places, at[:, 1:])
    np.testing.assert_allclose(distances, expected[:, 1:], rtol=1e-9)


def test_few_rows_have_few_neighbours() -> None:
    x = np.array([[0], [3], [1]], np.float32)
    places, distances = nearest_rows(x)
    assert places.tolist() == [[2, 1], [2, 0], [0, 1]]
    assert distances.tolist() == [[1, 3], [2, 3], [1, 2]]
    assert nearest_rows(x[:1])[0].shape == (1, 0)
    assert nearest_rows(x[:0])[0].shape == (0, 0)


def contents() -> dict[str, bytes]:
    found = {f"train/Fig/{n}.jpg": encoded(picture(n)) for n in range(4)}
    return found | {"test/Lime/copy.jpg": found["train/Fig/1.jpg"]}


def test_each_row_has_its_picture_its_neighbours_and_its_prediction() -> None:
    images = images_of(contents())
    x = np.arange(15, dtype=np.float32).reshape(5, 3) ** 2
    predictions = pa.table(
        {
            "path": images["path"].to_pylist()[::-1],
            "predicted": ["Fig", "Lime", "Fig", "Fig", "Lime"],
            "confidence": [0.5, 0.6, 0.7, 0.8, 0.9],
        }
    )
    table = atlas_table(images, x, predictions, thumbnails_of(contents()))
    assert table.schema == ATLAS
    assert table["path"].to_pylist() == images["path"].to_pylist()
    assert table["confidence"].to_pylist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert table["predicted"].to_pylist()[0] == "Lime"
    np.testing.assert_array_equal(np.stack([table["x"], table["y"]], axis=1), x[:, :2])
    first = table["neighbors"][0].as_py()
    assert first["ids"] == [1, 2, 3, 4]
    assert first["distances"][0] == np.linalg.norm(x[1].astype(float) - x[0])
    for row, name in zip(table.to_pylist(), images["path"].to_pylist(), strict=True):
        digest = hashlib.sha256(contents()[name]).hexdigest()
        assert row["thumbnail"]["path"] == f"{digest}.jpg"
        with Image.open(io.BytesIO(row["thumbnail"]["bytes"])) as small:
            assert max(small.size) >= 72


def test_without_classifier_and_thumbnails_the_columns_are_null() -> None:
    images = images_of(contents())
    table = atlas_table(images, np.ones((5, 1), np.float32), None, [])
    assert table.schema == ATLAS
    for name in ("predicted", "confidence", "thumbnail"):
        assert table[name].null_count == 5
    assert table["y"].to_pylist() == [0] * 5
