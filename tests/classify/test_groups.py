import itertools
from collections import Counter
from uuid import UUID

import numpy as np
import pytest

from fruits.classify.groups import FOLDS, TRAIN_ONLY, assign_folds, group_images
from fruits.sources.naming import Naming

FILMS = [
    f"/d/Training/{label}/{film}{frame}_100.jpg"
    for label in ("Fig", "Lime")
    for film in ("", "r_", "r2_")
    for frame in range(12)
]


def parents(paths: list[str]) -> list[str]:
    return [path.split("/")[-2] for path in paths]


def test_films_in_a_folder_are_groups() -> None:
    groups = group_images(FILMS, parents(FILMS))

    assert groups.kinds == {"film": 2}
    assert set(Counter(groups.names).values()) == {12}
    assert len(set(groups.names)) == 6
    rule = "file name (folder and leading letters)"
    assert groups.describe() == f"6 groups; 2 labels grouped by {rule}"


def test_an_expression_may_find_an_empty_text_as_the_group_of_a_film() -> None:
    rules = Naming(group=r"/(?P<group>(r\d?)?)_?\d+_100")

    groups = group_images(FILMS, parents(FILMS), rules)

    assert Counter(groups.names) == {"": 24, "r": 24, "r2": 24}
    assert (groups.kinds, groups.ungrouped) == ({"expression": 2}, 0)
    folds = assign_folds(groups.names, parents(FILMS)).tolist()
    assert len(set(zip(groups.names, folds, strict=True))) == 3


def test_a_label_with_several_folders_is_grouped_by_folder() -> None:
    paths = [p.replace("Fig/", "Fig 1/") for p in FILMS] + [
        f"/d/Training/Fig 2/{n}_100.jpg" for n in range(9)
    ]
    labels = [label.split()[0] for label in parents(paths)]

    groups = group_images(paths, labels)

    assert groups.kinds == {"film": 1, "folder": 1}
    of_fig = {name for name, label in zip(groups.names, labels, strict=True) if label == "Fig"}
    assert len(of_fig) == 2


def test_frames_of_one_film_on_both_sides_of_a_split_are_in_one_group() -> None:
    paths = [one.replace("Training", "Test") if n % 4 == 0 else one for n, one in enumerate(FILMS)]

    groups = group_images(paths, parents(paths))

    assert groups.kinds == {"film": 2}
    assert set(Counter(groups.names).values()) == {12}
    images = [f"/d/{side}/Fig/IMG_{n}.jpg" for n in range(50) for side in ("Test", "validation")]
    blocks = group_images(images, ["Fig"] * 100)
    assert blocks.kinds == {"block": 1}
    assert blocks.names[::2] == blocks.names[1::2]


@pytest.mark.parametrize(
    "shard",
    ["shard-{:05}.tar", "train-{:05}-of-00004.tar", "{:04}.zip", "part-{:05}-c000.parquet"],
)
def test_the_groups_of_a_folder_in_shards_are_those_of_the_folder(shard: str) -> None:
    photographs = FILMS + [f"/d/Training/Kiwi/{n}.jpg" for n in range(40)]
    photographs += [f"/d/Training/Plum/{place}/{n}.jpg" for place in "ab" for n in range(9)]
    labels = [path.split("/")[3] for path in photographs]
    expected = group_images(photographs, labels)
    assert expected.kinds == {"block": 1, "film": 2, "folder": 1}

    packed = [f"/shards/{shard.format(n // 31)}!/{path[3:]}" for n, path in enumerate(photographs)]
    groups = group_images(packed, labels)

    assert groups.kinds == expected.kinds
    folds = assign_folds(groups.names, labels)
    assert folds.tolist() == assign_folds(expected.names, labels).tolist()
    assert len(set(zip(groups.names, expected.names, strict=True))) == len(set(expected.names))


def test_archives_with_different_names_are_folders() -> None:
    paths = [f"/d/{place}.zip!/Fig/{n}.jpg" for place in ("garden", "kitchen") for n in range(9)]

    assert group_images(paths, ["Fig"] * 18).kinds == {"folder": 1}


def test_rows_of_parquet_files_without_paths_are_divided_in_their_order() -> None:
    paths = [f"/d/train-0000{shard}-of-00003.parquet!/{n}" for shard in range(3) for n in range(10)]

    groups = group_images(paths, ["Fig"] * 30)

    assert groups.kinds == {"block": 1}
    assert groups.names == sorted(groups.names)


def test_images_without_visible_groups_are_divided_into_blocks() -> None:
    paths = [f"/d/Fig/IMG_{n}.jpg" for n in range(100)]

    groups = group_images(paths[::-1], ["Fig"] * 100)

    assert groups.kinds == {"block": 1}
    assert list(Counter(groups.names).values()) == [20] * FOLDS
    assert len(set(groups.names[:20])) == 1  # 99 to 80: by number, not by letter


def test_a_stray_file_name_does_not_make_one_huge_group() -> None:
    paths = [f"/d/{label}/IMG_{n}.jpg" for label in ("Fig", "Lime") for n in range(30)]
    paths += ["/d/Fig/DSC_0.jpg", "/d/Lime/DSC_0.jpg"]
    labels = parents(paths)

    groups = group_images(paths, labels)

    assert groups.kinds == {"block": 2}
    folds = assign_folds(groups.names, labels)
    for fold in range(FOLDS):
        left = Counter(label for label, own in zip(labels, folds, strict=True) if own != fold)
        assert min(left.values()) >= 24


@pytest.mark.parametrize(("stray", "kind"), [(9, "film"), (2, "block")])
def test_a_folder_with_few_images_does_not_hide_the_films_of_a_label(stray: int, kind: str) -> None:
    names = [f"r_{n}_100" for n in range(14)] + [f"{n}_100" for n in range(stray)]
    paths = [f"/d/Fig/a/{name}.jpg" for name in names] + ["/d/Fig/b/1_100.jpg"]

    assert group_images(paths, ["Fig"] * len(paths)).kinds == {kind: 1}


def test_a_group_may_have_four_fifths_of_the_images_of_a_label() -> None:
    paths = [f"/d/Fig/a/{n}.jpg" for n in range(8)] + [f"/d/Fig/b/{n}.jpg" for n in range(2)]

    assert group_images(paths, ["Fig"] * 10).kinds == {"folder": 1}
    assert group_images([*paths, "/d/Fig/a/8.jpg"], ["Fig"] * 11).kinds == {"block": 1}
    boxes = [f"/d/Fig/a/0.jpg#xywh={n},0,5,5" for n in range(20)]
    assert group_images(paths + boxes, ["Fig"] * 30).kinds == {"folder": 1}


def drawn_names(kind: str) -> list[str]:
    """300 names of images, of a kind that says nothing about films."""
    rng = np.random.default_rng(5)
    if kind == "uuid":
        return [str(UUID(bytes=rng.bytes(16))) for _ in range(300)]
    letters, size = {"hash": ("0123456789abcdef", 6), "word": ("abcdefghijklm", 7)}[kind]
    return ["".join(rng.choice(list(letters), size)) for _ in range(300)]


@pytest.mark.parametrize("kind", ["uuid", "hash", "word"])
def test_the_letters_of_random_names_are_no_films(kind: str) -> None:
    groups = group_images([f"/d/Fig/{name}.jpg" for name in drawn_names(kind)], ["Fig"] * 300)

    assert groups.kinds == {"block": 1}


def test_a_few_hashes_among_films_do_not_divide_the_films() -> None:
    hashes = [f"/d/Training/Fig/{name}.jpg" for name in drawn_names("uuid")[:5]]

    groups = group_images(FILMS + hashes, ["Fig"] * 36 + ["Lime"] * 36 + ["Fig"] * 5)

    assert groups.kinds == {"film": 2}
    assert groups.names[:72] == group_images(FILMS, parents(FILMS)).names


def test_a_label_with_one_image_has_no_blocks() -> None:
    groups = group_images(
        ["Fig/1.jpg", *(f"Lime/r_{n}_100.jpg" for n in range(3))], ["Fig", *["Lime"] * 3]
    )
    assert groups.kinds == {"block": 1, "single": 1}


def test_groups_by_expression_and_single_groups_without_a_match() -> None:
    rules = Naming(group=r"/(?P<group>r\d*)_")

    groups = group_images(FILMS, parents(FILMS), rules)

    assert groups.kinds == {"expression": 2}
    assert Counter(groups.names)["r"] == Counter(groups.names)["r2"] == 24
    assert sum(count == 1 for count in Counter(groups.names).values()) == groups.ungrouped == 24
    assert groups.describe().endswith("grouped by the expression; 24 images without a group")


def test_few_images_make_few_blocks() -> None:
    groups = group_images(["/d/Fig/1.jpg", "/d/Fig/2.jpg", "/d/Lime/1.jpg"], ["Fig", "Fig", "Lime"])

    assert len(set(groups.names)) == 3
    assert assign_folds(groups.names, ["Fig", "Fig", "Lime"]).tolist()[2] == TRAIN_ONLY


def test_the_order_of_equal_numbers_has_no_influence() -> None:
    names = ["1", "01", "001", "2"]

    folds = assign_folds(names, ["Fig"] * 4)

    assert assign_folds(names[::-1], ["Fig"] * 4).tolist() == folds[::-1].tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_group_is_in_one_fold_in_any_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = [f"l{n}" for n in rng.integers(0, 6, 500)]
    names = [f"{label} g{n}" for label, n in zip(labels, rng.integers(0, 9, 500), strict=True)]
    order = rng.permutation(500)

    folds = assign_folds(names, labels)
    again = assign_folds([names[n] for n in order], [labels[n] for n in order])

    np.testing.assert_array_equal(again, folds[order])
    by_group: dict[str, set[int]] = {}
    for name, fold in zip(names, folds.tolist(), strict=True):
        by_group.setdefault(name, set()).add(fold)
    assert all(len(own) == 1 for own in by_group.values())
    assert min(np.bincount(folds)) > 50
    for label in set(labels):  # with nine groups, a label is in every fold
        assert {f for f, own in zip(folds.tolist(), labels, strict=True) if own == label} == set(
            range(FOLDS)
        )


def test_a_label_with_one_group_is_never_held_out() -> None:
    folds = assign_folds(["a", "a", "b", "c"], ["one", "one", "two", "two"])

    assert folds.tolist()[:2] == [TRAIN_ONLY, TRAIN_ONLY]
    assert folds[2] != folds[3]


def test_a_label_whose_groups_are_all_in_one_fold_is_never_held_out() -> None:
    sessions = [f"session {n}" for n in range(10)]
    pairs = [(one, label) for one in sessions for label in ("Fig", "Fig", "Fig", "Lime")]
    pairs += [(sessions[1], "Kiwi"), (sessions[6], "Kiwi")]
    groups, labels = zip(*pairs, strict=True)

    folds = assign_folds(groups, labels)

    assert folds[4] == folds[24] != TRAIN_ONLY  # Figs of the two sessions
    # They train each model, also the one that is tested on the other labels of their groups.
    assert folds[-2:].tolist() == [TRAIN_ONLY, TRAIN_ONLY]
    assert TRAIN_ONLY not in folds[:-2]


def test_groups_that_have_all_labels_are_in_different_folds() -> None:
    names = [f"{kind} {number}" for kind in ("Apple", "Fig", "Kiwi") for number in range(10)]
    for one, other in itertools.pairwise(names):
        # A session of mostly one label, and a session of mostly the other.
        labels = [one, one, other, one, other, other]
        folds = assign_folds(["first"] * 3 + ["second"] * 3, labels)
        assert folds.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_group_of_one_label_is_not_in_the_fold_of_its_group_with_others() -> None:
    for number in range(20):
        label = f"Fig {number}"
        groups, labels = ["shared", "shared", "own"], [label, "Lime", label]
        folds = assign_folds(groups, labels)
        assert TRAIN_ONLY not in folds[[0, 2]]
        assert folds[0] != folds[2]


def test_a_group_with_several_labels_is_in_one_fold() -> None:
    folds = assign_folds(["a", "a", "a", "b", "b"], ["x", "x", "y", "x", "y"])

    assert len(set(folds[:3].tolist())) == 1
    assert len(set(folds[3:].tolist())) == 1
    assert folds[0] != folds[3]


def test_groups_of_the_source_take_precedence_over_folders_but_not_over_an_expression() -> None:
    paths, labels = ["a/1.jpg", "b/2.jpg", "c/3.jpg"], ["Fig"] * 3
    found = group_images(paths, labels, named=["tree 1", "tree 1", None])
    assert found.names == ["tree 1", "tree 1", "c/3.jpg"]
    assert found.describe() == (
        "2 groups; 1 label grouped by the groups in the source; 1 image without a group"
    )
    rules = Naming(group=r"(?P<group>\d)")
    assert group_images(paths, labels, rules, ["x", "x", "x"]).names == ["1", "2", "3"]
    assert group_images(paths, labels, named=[None] * 3).names == group_images(paths, labels).names


@pytest.mark.parametrize("group", [None, r"/(?P<group>[^/]+)\.jpg$", "(?P<group>nothing)"])
def test_boxes_of_one_photograph_are_in_one_group(group: str | None) -> None:
    rules = Naming(group=group)
    photographs = [f"/d/{label}/IMG_{n}.jpg" for label in ("Fig", "Lime") for n in range(12)]
    paths = [f"{one}#xywh={n},0,5,5" for one in photographs for n in range(1, 2 + len(one) % 4)]
    labels = parents([path.partition("#")[0] for path in paths])
    groups = group_images(paths, labels, rules)
    folds = assign_folds(groups.names, labels)
    for one in photographs:
        own = [n for n, path in enumerate(paths) if path.startswith(f"{one}#")]
        assert len({groups.names[n] for n in own}) == 1
        assert len({int(folds[n]) for n in own}) == 1
    assert len(set(folds.tolist())) == FOLDS
    alone = group_images(photographs, parents(photographs), rules)
    assert set(groups.names) == set(alone.names)


def test_boxes_are_in_the_group_of_their_source() -> None:
    paths = [f"/d/Fig/{n}.jpg#xywh=0,0,{side},5" for n in range(4) for side in (1, 2)]
    named = [None, None, "a", "a", "a", "a", None, None]
    found = group_images(paths, ["Fig"] * 8, None, named).names
    assert found == ["/d/Fig/0.jpg"] * 2 + ["a"] * 4 + ["/d/Fig/3.jpg"] * 2
