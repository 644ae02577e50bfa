"""Predictions, compared with scikit-learn and with the tasks of a run."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

from fruits.errors import InputError
from fruits.predictor import Prediction, Predictor


def only(predictions: list[Prediction | str]) -> list[Prediction]:
    assert not [one for one in predictions if isinstance(one, str)]
    return predictions  # type: ignore[return-value]


def signed_roots(features: np.ndarray) -> np.ndarray:
    return np.sign(features) * np.sqrt(np.abs(features))


def test_labels_and_probabilities_agree_with_scikit_learn(
    trained: Any, predictor: Predictor
) -> None:
    reference = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.2)
    reference.fit(signed_roots(trained.features).astype(np.float64), trained.labels)
    logits = reference.decision_function(signed_roots(trained.tested_features).astype(np.float64))
    expected = softmax(logits / 1.7, axis=1)

    found = only(list(predictor.predict_many(trained.tested)))

    assert predictor.labels == tuple(reference.classes_)
    assert [one.label for one in found] == list(reference.classes_[expected.argmax(axis=1)])
    for one, chances in zip(found, expected, strict=True):
        order = np.argsort(-chances)
        assert [label for label, _ in one.top] == list(reference.classes_[order])
        np.testing.assert_allclose([chance for _, chance in one.top], chances[order], atol=1e-6)
        assert one.confidence == one.top[0][1]


def test_neighbours_agree_with_scikit_learn(trained: Any, predictor: Predictor) -> None:
    reference = NearestNeighbors(n_neighbors=5, algorithm="brute")
    reference.fit(trained.components.astype(np.float64))
    found = only(list(predictor.predict_many(trained.tested)))
    queries = np.stack([one.components for one in found]).astype(np.float64)
    distances, places = reference.kneighbors(queries)
    for one, near, rows in zip(found, distances, places, strict=True):
        assert [n.path for n in one.neighbours] == [trained.paths[row] for row in rows]
        assert [n.label for n in one.neighbours] == [trained.labels[row] for row in rows]
        np.testing.assert_allclose([n.distance for n in one.neighbours], near, rtol=1e-6)


def test_a_prediction_has_the_same_bits_as_in_the_tasks_of_a_run(
    trained: Any, predictor: Predictor
) -> None:
    expected = trained.classifier.predict(trained.features)
    alone = [predictor.predict(content) for content in trained.contents]
    together = only(list(predictor.predict_many(trained.contents)))
    for found in (alone, together):
        np.testing.assert_array_equal([one.confidence for one in found], expected.confidence)
        np.testing.assert_array_equal([one.distance for one in found], expected.distance)
        np.testing.assert_array_equal(
            [[chance for _, chance in one.top] for one in found], expected.top_probability
        )
        np.testing.assert_array_equal(
            np.stack([one.components for one in found]), trained.components
        )
        assert [one.unknown for one in found] == list(expected.unknown)


def test_the_nearest_neighbour_of_a_training_image_is_itself(
    trained: Any, predictor: Predictor
) -> None:
    for path, content in zip(trained.paths, trained.contents, strict=True):
        nearest = predictor.predict(content).neighbours[0]
        assert (nearest.path, nearest.distance) == (path, 0)


def test_a_neighbour_has_its_thumbnail_if_one_was_stored(
    trained: Any, predictor: Predictor
) -> None:
    digests = dict(zip(trained.paths, trained.digests, strict=True))
    seen = set()
    for content in trained.contents:
        for neighbour in predictor.predict(content).neighbours:
            seen.add(neighbour.path)
            kept = b"jpeg of " + digests[neighbour.path].encode()
            assert neighbour.thumbnail == (kept if neighbour.path != trained.paths[0] else None)
    assert trained.paths[0] in seen


def test_another_kind_of_image_is_unknown(predictor: Predictor) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    header = b"P6 120 90 255\n"
    assert predictor.predict(header + noise.tobytes()).unknown


def test_an_unusable_image_yields_its_reason_and_does_not_stop_others(
    trained: Any, predictor: Predictor
) -> None:
    good = trained.contents[0]
    with pytest.raises(InputError, match="not an image: empty file"):
        predictor.predict(b"")
    found = list(predictor.predict_many([good, b"no picture", good[:900], good]))
    assert isinstance(found[0], Prediction)
    assert found[1] == "not an image: text file"
    assert isinstance(found[2], str)
    assert found[2].startswith("damaged: ")
    assert isinstance(found[3], Prediction)
    assert found[3].confidence == found[0].confidence
    assert list(predictor.predict_many([])) == []


def test_about_describes_the_predictor(trained: Any, predictor: Predictor) -> None:
    about = predictor.about
    assert about["backbone"] == "EfficientNetLite0"
    wanted = {"height": 224, "width": 224, "resize": "squash", "interpolation": "bicubic"}
    assert {name: about["input"][name] for name in wanted} == wanted
    assert about["labels"] == list(predictor.labels)
    assert about["threshold"] == trained.classifier.threshold
    assert about["neighbours"] == len(trained.paths)
    assert about["components"] == trained.reduction.components
    assert about["counts"] == {"found": len(trained.paths)}
    assert about["evaluation"] == {"log_loss": None}
    assert {"fruits", "openvino", "numpy"} <= about["versions"].keys()
    assert about["computed_by"].startswith("openvino ")


def test_threads_may_share_a_predictor(trained: Any, predictor: Predictor) -> None:
    expected = [one.confidence for one in only(list(predictor.predict_many(trained.tested)))]
    found: dict[int, list[float]] = {}

    def work(number: int) -> None:
        found[number] = [predictor.predict(content).confidence for content in trained.tested]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), expected)


def test_an_output_is_found_by_its_folder_or_that_of_the_predictor(
    trained: Any, folder: Path
) -> None:
    for place in (folder, folder.parent, f"file:{folder}", f"{folder.parent}/"):
        assert Predictor.load(place).predict(trained.contents[0]).label == trained.labels[0]


def test_a_predictor_needs_neither_spark_nor_tensorflow_nor_pickle(
    folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "class Refuse:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] in ('pyspark', 'py4j', 'tensorflow', 'keras'):\n"
        "            raise ImportError(f'{name} is not there')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        "import fruits, pickle\n"
        "def refuse(*_, **__): raise AssertionError('pickle')\n"
        "pickle.load = pickle.loads = pickle.Unpickler = refuse\n"
        "predictor = fruits.Predictor.load(sys.argv[1])\n"
        "print(predictor.predict(open(sys.argv[2], 'rb').read()).label)\n"
    )
    picture = tmp_path / "picture.ppm"
    picture.write_bytes(b"P6 2 1 255\n" + bytes(6))
    command = [sys.executable, "-c", code, str(folder), str(picture)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in Predictor.load(folder).labels
