import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from committed import commit, drop
from numpy.typing import NDArray
from sklearn.discriminant_analysis import (  # type: ignore[import-untyped]
    LinearDiscriminantAnalysis,
)
from sklearn.preprocessing import Normalizer  # type: ignore[import-untyped]

from fruits.classify.fit import SHRINKAGES
from fruits.classify.groups import TRAIN_ONLY
from fruits.classify.train import Fold, train
from fruits.classify.transforms import TRANSFORMS, transform_features
from fruits.features.moments import Moments
from fruits.features.rows import FEATURES, lists
from fruits.features.writer import FeatureWriter
from fruits.folds import scored_images
from fruits.sources import parts
from fruits.sources.parts import Parts
from fruits.sources.spread import Spread, gather
from fruits.storage.location import Location
from fruits.storage.lock import exclusive
from fruits.tasks import cross_validation as folds_module
from fruits.tasks.cross_validation import cross_validation
from fruits.tasks.known import known_rows
from fruits.tasks.workers import Workers

TRANSFORMED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "none": lambda x: x,
    "sqrt": lambda x: np.copysign(np.sqrt(np.abs(x)), x),
    "sqrt-l2": lambda x: Normalizer().fit_transform(TRANSFORMED["sqrt"](x)),
}

ROWS = 300
LABELS = ["Fig", "Kiwi", "Lime"]


@pytest.fixture
def rows() -> pa.Table:
    """Three overlapping labels; every tenth image is not a training image."""
    rng = np.random.default_rng(7)
    means = rng.normal(size=(3, 8)) * 0.8
    x = means[np.arange(ROWS) % 3] + rng.normal(size=(ROWS, 8))
    columns = {
        "path": [f"file:/x/{LABELS[n % 3]}/é{n}.jpg" for n in range(ROWS)],
        "label": [LABELS[n % 3] for n in range(ROWS)],
        "split": ["test" if n % 10 == 0 else "train" for n in range(ROWS)],
        "sha256": ["00" * 32] * ROWS,
        "length": [10] * ROWS,
        "modified": pa.array([0] * ROWS, pa.timestamp("us", tz="UTC")),
        "features": lists(x.astype(np.float32)),
    }
    return pa.table(columns, FEATURES)


@pytest.fixture
def folds(rows: pa.Table) -> pa.Table:
    """Four folds, and some images that are never tested."""
    training = rows.filter(pc.equal(rows["split"], "train"))
    fold = [TRAIN_ONLY if n % 13 == 0 else n // 3 % 4 for n in range(training.num_rows)]
    columns = {"path": training["path"], "label": training["label"], "fold": fold}
    return pa.table(
        columns, pa.schema([("path", pa.string()), ("label", pa.string()), ("fold", pa.int64())])
    )


def features_of(rows: pa.Table) -> NDArray[Any]:
    return np.array(rows["features"].to_pylist(), np.float32)


def joined(rows: pa.Table, folds: pa.Table) -> pa.Table:
    """The training images in the order of their paths, with their features and folds."""
    own = rows["features"].take(pc.index_in(folds["path"], rows["path"]))
    return folds.append_column("features", own).sort_by("path")


def content(found: tuple[dict[str, Moments], list[Fold]]) -> list[Any]:
    """All values for a cross-validation, for comparisons."""
    moments, folds = found
    return [
        {name: own.to_bytes() for name, own in moments.items()},
        *([own.to_bytes() for own in fold.moments.values()] for fold in folds),
        *(fold.features().tolist() for fold in folds),
        *(list(fold.labels) for fold in folds),
    ]


def test_each_fold_has_the_moments_and_the_features_of_its_images(
    workers: Workers, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 5)
    table = joined(rows, folds)
    x, labels, fold_of = features_of(table), table["label"].to_pylist(), table["fold"].to_numpy()

    moments, found = cross_validation(
        workers, store, Parts.of(folds), Location.of(f"{tmp_path}/folds")
    )

    assert list(moments) == list(TRANSFORMS)
    assert len(found) == 4
    for transform in TRANSFORMS:
        assert (
            moments[transform].to_bytes()
            == Moments.of(transform_features(x, transform), labels).to_bytes()
        )
    for number, fold in enumerate(found):
        some = np.flatnonzero(fold_of == number)
        own = [labels[n] for n in some]
        assert list(fold.labels) == own
        assert list(fold.paths) == table["path"].take(some).to_pylist()
        np.testing.assert_array_equal(fold.features(), x[some])
        for transform in TRANSFORMS:
            expected = Moments.of(transform_features(x[some], transform), own)
            assert fold.moments[transform].to_bytes() == expected.to_bytes()
        with pytest.raises(KeyError):
            fold.moments["cube"]


def test_training_agrees_with_scikit_learn(
    workers: Workers, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 3)
    table = joined(rows, folds)
    x, labels = features_of(table).astype(np.float64), np.array(table["label"].to_pylist())
    fold_of = table["fold"].to_numpy()

    training = train(
        *cross_validation(workers, store, Parts.of(folds), Location.of(f"{tmp_path}/folds"))
    )

    tested = fold_of != TRAIN_ONLY
    for trial in training.trials:
        z = TRANSFORMED[trial.transform](x)
        right = 0
        for number in range(4):
            own = fold_of == number
            model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=trial.shrinkage)
            right += (model.fit(z[~own], labels[~own]).predict(z[own]) == labels[own]).sum()
        assert trial.accuracy == right / tested.sum()
    assert len(training.trials) == len(TRANSFORMS) * len(SHRINKAGES)
    assert training.evaluation is not None
    assert training.evaluation.accuracy == max(trial.accuracy for trial in training.trials)


@pytest.mark.parametrize("cuts", [[ROWS], [11, 200, 89], [1, 298, 1]])
def test_chunks_files_and_order_do_not_change_a_bit(
    workers: Workers,
    store: FeatureWriter,
    rows: pa.Table,
    folds: pa.Table,
    cuts: list[int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scored_images, "MOST_IMAGES", 100)
    rng = np.random.default_rng(len(cuts))
    with exclusive(f"file:{tmp_path}/plain/_lock") as lock:
        plain = FeatureWriter(Location.of(f"{tmp_path}/plain/features"), lock)
        commit(plain, rows, 1)
        expected = content(
            cross_validation(workers, plain, Parts.of(folds), Location.of(f"{tmp_path}/one"))
        )
    shuffled = rows.take(rng.permutation(ROWS))
    for start, end in pairwise(np.cumsum([0, *cuts])):
        commit(store, shuffled.slice(start, end - start), min(4, end - start))

    # One listing is a single table, and the others are in parts.
    monkeypatch.setattr(parts, "IN_MEMORY", ROWS if len(cuts) == 1 else 40)
    monkeypatch.setattr(parts, "PART_ROWS", 40)
    other = gather([folds.take(rng.permutation(folds.num_rows))], folds.schema)
    found = content(cross_validation(workers, store, other, Location.of(f"{tmp_path}/other")))

    assert found == expected


def sums(found: tuple[dict[str, Moments], list[Fold]]) -> list[Any]:
    """All values for fitting and scoring a classifier, for comparisons."""
    moments, folds = found
    every = [*moments.values(), *(own for fold in folds for own in fold.moments.values())]
    return [
        *([(m.products.low, m.products.words.tolist()), m.mean.tolist()] for m in every),
        *({name: (s.count, s.sum().tolist()) for name, s in m.labels.items()} for m in every),
        *((fold.features().tolist(), list(fold.labels)) for fold in folds),
    ]


class Grown:
    """A table with stored folds, and the number of rows that each cross-validation measured."""

    def __init__(
        self, workers: Workers, store: FeatureWriter, place: Path, at_once: dict[str, Any]
    ) -> None:
        self.workers, self.store, self.place, self.at_once = workers, store, place, at_once
        self.measured: list[int] = []
        self.run = workers.run

    def check(self, rows: pa.Table, folds: pa.Table) -> None:
        """Checks that the results equal those of a table that was made at once."""
        number = len(self.measured)
        # Stored folds are compared in parts.
        some = Spread(folds.schema, ["file:/x/Fig/é2", "file:/x/Kiwi", "file:/x/Kiwi/é4"])
        some.add(folds)
        found = cross_validation(
            self.workers, self.store, some.parts(), Location.of(f"{self.place}/{number}")
        )
        self.measured.append(self.of_last)
        trained = train(*found)
        own = [sums(found), trained.classifier.to_bytes(), trained.trials]
        assert own == self.expected(rows, folds)

    def expected(self, rows: pa.Table, folds: pa.Table) -> list[Any]:
        """What a table that is made at once has; the same rows are measured once only."""
        key = repr((rows.to_pydict(), folds.to_pydict()))
        if key not in self.at_once:
            place = f"{self.place}/once-{len(self.measured)}"
            with exclusive(f"file:{place}/_lock") as lock:
                once = FeatureWriter(Location.of(f"{place}/features"), lock)
                commit(once, rows, 2)
                found = cross_validation(
                    self.workers, once, Parts.of(folds), Location.of(f"{place}/folds")
                )
                trained = train(*found)
                own = [sums(found), trained.classifier.to_bytes(), trained.trials]
                self.at_once[key] = own
        return self.at_once[key]

    def drop(self, rows: pa.Table) -> None:
        known = known_rows(self.workers, self.store)
        drop(self.workers, self.store, known.filter(pc.is_in(known["path"], rows["path"])))

    def note(self, work: Any, items: list[Any], what: str) -> list[Any]:
        if found := re.search(r"moments of (\d+) images, by fold", what):
            self.of_last = int(found[1])
        return self.run(work, items, what)


@pytest.fixture(scope="module")
def at_once() -> dict[str, Any]:
    """What tables that were made at once have, by their rows and folds."""
    return {}


@pytest.fixture
def grown(
    workers: Workers,
    store: FeatureWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at_once: dict[str, Any],
) -> Grown:
    monkeypatch.setattr(folds_module, "_BYTES_OF_A_SUM", 0)  # even a small table stores moments
    monkeypatch.setattr(scored_images, "MOST_IMAGES", 100)
    grown = Grown(workers, store, tmp_path / "grown", at_once)
    monkeypatch.setattr(workers, "run", grown.note)
    return grown


def of(rows: pa.Table, folds: pa.Table) -> pa.Table:
    """The folds of some rows."""
    return folds.filter(pc.is_in(folds["path"], rows["path"]))


def test_only_images_that_come_or_go_are_measured(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown
) -> None:
    commit(store, rows.slice(0, 250), 3)
    grown.check(rows.slice(0, 250), of(rows.slice(0, 250), folds))
    commit(store, rows.slice(250), 2)
    grown.check(rows, folds)
    grown.check(rows, folds)
    grown.drop(rows.slice(20, 10))
    left = pa.concat_tables([rows.slice(0, 20), rows.slice(30)])
    grown.check(left, of(left, folds))
    # Some images are removed, and some change their label or their fold.
    grown.drop(rows.slice(270, 5))
    left = pa.concat_tables([rows.slice(0, 20), rows.slice(30, 240), rows.slice(275)])
    changed = of(left, folds).to_pydict()
    changed["label"][7], changed["fold"][30], changed["fold"][31] = "Plum", 3, TRAIN_ONLY
    grown.check(left, pa.table(changed, folds.schema))

    assert grown.measured == [225, 45, 0, 9, 4 + 2 * 3]


def test_features_of_images_that_stay_are_not_read_again(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown
) -> None:
    commit(store, rows.slice(0, 250), 3)
    grown.check(rows.slice(0, 250), of(rows.slice(0, 250), folds))
    for file in store.files():
        table = pq.read_table(file.path)
        zeros = lists(np.zeros((table.num_rows, 8), np.float32))
        pq.write_table(table.set_column(6, "features", zeros), file.path)
    commit(store, rows.slice(250), 1)

    grown.check(rows, folds)

    assert grown.measured == [225, 45]


def test_an_image_that_is_replaced_twice_is_subtracted_as_it_was(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown
) -> None:
    commit(store, rows, 3)
    grown.check(rows, folds)
    for turn in range(2):
        grown.drop(rows.slice(5, 3))
        other = np.random.default_rng(turn).normal(size=(3, 8)).astype(np.float32)
        new = rows.slice(5, 3).set_column(6, "features", lists(other)).cast(FEATURES)
        commit(store, new, 1)

    grown.check(pa.concat_tables([rows.slice(0, 5), new, rows.slice(8)]), folds)

    assert grown.measured == [270, 6]


def test_replaced_images_of_files_in_any_order_are_subtracted_as_they_were(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown
) -> None:
    lime, kiwi, fig = (
        rows.filter(pc.equal(rows["label"], label)) for label in ("Lime", "Kiwi", "Fig")
    )
    for some in (lime, kiwi, fig):
        commit(store, some, 1)
    grown.check(rows, folds)
    old = pa.concat_tables([some.slice(5, 1) for some in (lime, kiwi, fig)])
    grown.drop(old)
    other = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
    new = old.set_column(6, "features", lists(other)).cast(FEATURES)
    commit(store, new, 1)

    kept = [rows for some in (lime, kiwi, fig) for rows in (some.slice(0, 5), some.slice(6))]
    grown.check(pa.concat_tables([*kept, new]), folds)

    assert grown.measured == [270, 2 * 3]


@pytest.mark.parametrize("damage", ["moments", "record", "images", "sample"])
def test_kept_folds_that_are_damaged_are_measured_again(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown, damage: str
) -> None:
    commit(store, rows, 3)
    grown.check(rows, folds)
    files = Path(store.uri.removeprefix("file:"), "_folds").iterdir()
    suffix = {
        "moments": "-2.sqrt.moments",
        "record": ".json",
        "images": ".000002.parquet",
        "sample": "-2.sample.parquet",
    }[damage]
    damaged = [file for file in files if file.name.endswith(suffix)]
    assert len(damaged) == 1
    damaged[0].write_bytes(b"no such thing")

    grown.check(rows, folds)

    assert grown.measured == [270, 270]
    names = [file.name for file in damaged[0].parent.iterdir()]
    assert len(names) == 1 + 4 + 4 + len(TRANSFORMS) * 5
    assert len({name[:32] for name in names if name != "folds.json"}) == 1


def test_folds_that_were_kept_with_fewer_transforms_are_measured_again(
    store: FeatureWriter, rows: pa.Table, folds: pa.Table, grown: Grown
) -> None:
    commit(store, rows, 3)
    place = Location.of(f"{grown.place}/before")
    cross_validation(grown.workers, store, Parts.of(folds), place, ["none", "sqrt"])

    grown.check(rows, folds)
    grown.check(rows, folds)

    assert grown.measured == [270, 0]


def test_outdated_kept_folds_are_deleted(
    store: FeatureWriter,
    rows: pa.Table,
    folds: pa.Table,
    grown: Grown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commit(store, rows, 3)
    cross_validation(
        grown.workers, store, Parts.of(folds), Location.of(f"{grown.place}/before"), ["none"]
    )
    kept = Path(store.uri.removeprefix("file:"), "_folds")
    assert kept.exists()
    monkeypatch.setattr(folds_module, "_BYTES_OF_A_SUM", 1e9)

    grown.check(rows, folds)

    assert grown.measured == [270]
    assert not kept.exists()


def test_moments_that_take_more_space_than_the_features_are_not_kept(
    workers: Workers, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows.slice(0, 20), 1)

    cross_validation(
        workers, store, Parts.of(of(rows.slice(0, 20), folds)), Location.of(f"{tmp_path}/folds")
    )

    assert not Path(store.uri.removeprefix("file:"), "_folds").exists()


@pytest.mark.parametrize("limit", [("MOST_IMAGES", 80), ("MOST_SCORES", 3 * 80)])
def test_a_sample_of_the_images_is_scored(
    workers: Workers,
    store: FeatureWriter,
    rows: pa.Table,
    folds: pa.Table,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    limit: tuple[str, int],
) -> None:
    monkeypatch.setattr(scored_images, *limit)
    commit(store, rows, 4)

    moments, found = cross_validation(
        workers, store, Parts.of(folds), Location.of(f"{tmp_path}/folds"), ["none"], 3
    )

    assert moments["none"].count == folds.num_rows
    assert sum(len(fold.labels) for fold in found) == 80
    assert all(fold.features().shape == (len(fold.labels), 8) for fold in found)
    assert min(len(fold.labels) for fold in found) > 10
    assert sum(fold.moments["none"].count for fold in found) == (
        folds.num_rows - folds["fold"].to_pylist().count(TRAIN_ONLY)
    )


def test_images_without_features_are_an_error(
    workers: Workers, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows.slice(0, 250), 2)

    with pytest.raises(ValueError, match="wanted features of all 270 training images"):
        cross_validation(workers, store, Parts.of(folds), Location.of(f"{tmp_path}/folds"))


def test_without_test_images_there_are_no_folds(
    workers: Workers, store: FeatureWriter, rows: pa.Table, folds: pa.Table, tmp_path: Path
) -> None:
    commit(store, rows, 2)
    never = folds.set_column(2, "fold", pa.array([TRAIN_ONLY] * folds.num_rows))

    moments, found = cross_validation(
        workers, store, Parts.of(never), Location.of(f"{tmp_path}/folds")
    )

    assert found == []
    assert train(moments, found).evaluation is None
