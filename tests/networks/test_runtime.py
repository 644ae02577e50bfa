import io
import itertools
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from encoded import encode
from PIL import Image

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.images.size_limits import RefusedItemError
from fruits.networks import runtime as engines
from fruits.networks.graph import BATCH_SIZES, CompiledGraph, InputSpec
from fruits.networks.runtime import GROUP, featurize, load

# Features of a stream of files

NO_PARTS = CompiledGraph("Mean", "0" * 64, "openvino", "f32", InputSpec(16), dimension=3, parts={})


@pytest.fixture
def seen(monkeypatch):
    """Replaces the network by the mean colour, and collects the groups of images that it gets."""
    groups = []

    def mean_colour(pixels):
        groups.append(pixels.copy())
        return pixels.mean(axis=(1, 2)).astype(np.float32)

    monkeypatch.setattr(engines, "load", lambda graph: mean_colour)
    return groups


def plain_png(colour):
    return encode(Image.new("RGB", (20, 20), colour), "PNG")


def test_features_keep_the_order_of_the_files(seen):
    colours = [(n, 100 + n, 200 - n) for n in range(2 * GROUP + 3)]
    found = list(featurize(map(plain_png, colours), NO_PARTS))
    np.testing.assert_array_equal(found, colours)
    assert [group.shape for group in seen] == [(n, 16, 16, 3) for n in (GROUP, GROUP, 3)]


def test_a_graph_may_require_exact_decoding(seen):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    content = encode(Image.fromarray(noise), "JPEG")
    for exact in (False, True):
        list(featurize([content], replace(NO_PARTS, exact_decode=exact)))
        np.testing.assert_array_equal(seen[-1][0], decode(content, NO_PARTS.input, exact))
    assert (seen[0] != seen[1]).any()


def test_rejected_files_yield_reasons_in_order(seen):
    gone = OSError(5, "Input/output error", "/data/a\nb.jpg")
    found = list(featurize([plain_png((1, 2, 3)), b"hello", gone, plain_png((4, 5, 6))], NO_PARTS))
    np.testing.assert_array_equal([found[0], found[3]], [(1, 2, 3), (4, 5, 6)])
    assert found[1] == "not an image: text file"
    assert found[2] == "unreadable: [Errno 5] Input/output error: '/data/a\\nb.jpg'"


def test_an_item_that_stays_unusable_is_rejected_with_its_own_reason(seen):
    found = list(featurize([RefusedItemError("a symbolic link")], NO_PARTS))
    assert found == ["a symbolic link"]


def test_thumbnails_are_passed_in_the_order_of_the_files(seen):
    pictures = []
    contents = [plain_png((250, 0, 0)), b"hello", OSError("gone"), plain_png((0, 250, 0))]
    found = list(featurize(contents * 5, NO_PARTS, pictures.append))
    assert [isinstance(one, str) for one in found] == [False, True, True, False] * 5
    assert [one is None for one in pictures] == [False, True, True, False] * 5
    colours = [np.asarray(Image.open(io.BytesIO(one))).mean(axis=(0, 1)) for one in pictures if one]
    np.testing.assert_allclose(colours[:2], [(250, 0, 0), (0, 250, 0)], atol=4)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("two\nlines"), "two lines"),
        (OSError(" <_io.BytesIO object at 0x7f12ab>"), "OSError"),
        (ValueError("bad <PIL.Image.Image image mode=RGB at 0x7F12> here"), "bad here"),
        (ValueError("\n"), "ValueError"),
        (MemoryError(), "MemoryError"),
        (OSError("a\0b \udcff"), "a?b ?"),
    ],
)
def test_a_reason_is_one_printable_line(seen, error, reason):
    assert list(featurize([error], NO_PARTS)) == [f"unreadable: {reason}"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_rejected(monkeypatch, value):
    def network(pixels):
        features = pixels.mean(axis=(1, 2)).astype(np.float32)
        features[features[:, 0] == 2, 1] = value
        return features

    monkeypatch.setattr(engines, "load", lambda graph: network)
    found = list(featurize([plain_png((n, n, n)) for n in (1, 2, 3)], NO_PARTS))
    np.testing.assert_array_equal([found[0], found[2]], [(1, 1, 1), (3, 3, 3)])
    assert found[1] == "no features: the network gave values that are not finite"


def test_files_are_read_in_groups(seen):
    asked = itertools.count()
    endless = (plain_png((next(asked), 0, 0)) for _ in itertools.count())
    assert len(list(itertools.islice(featurize(endless, NO_PARTS), GROUP + 1))) == GROUP + 1
    assert next(asked) == 2 * GROUP


def test_no_files_give_no_features(seen):
    assert list(featurize([], NO_PARTS)) == []
    assert seen == []


# Compiled graphs

GRAPH = CompiledGraph(
    backbone="MobileNetV2",
    weights_sha256="ab" * 32,
    engine="openvino",
    precision="bf16",
    input=InputSpec(224),
    dimension=1280,
    parts={"graph.xml": b"<net/>", "graph.bin": bytes(range(256)) * 40},
)


def test_a_graph_is_unchanged_after_packing():
    assert CompiledGraph.from_bytes(GRAPH.to_bytes()) == GRAPH


def test_the_identity_of_a_graph_covers_what_affects_the_features():
    changes = {
        "backbone": "VGG16",
        "weights_sha256": "cd" * 32,
        "engine": "tensorflow",
        "precision": "f32",
    }
    assert set(GRAPH.identity) == set(changes)
    for name, value in changes.items():
        assert replace(GRAPH, **{name: value}).identity != GRAPH.identity
    exact = replace(GRAPH, exact_decode=True)
    assert exact.identity != GRAPH.identity
    assert CompiledGraph.from_bytes(exact.to_bytes()).identity == exact.identity
    assert json.loads(json.dumps(GRAPH.identity)) == GRAPH.identity


def test_the_repr_of_a_graph_does_not_include_its_files():
    assert "<net/>" not in repr(GRAPH)


def test_damaged_bytes_are_refused_in_one_line_or_harmless():
    content = GRAPH.to_bytes()
    rng = np.random.default_rng(0)
    refused = []
    for _ in range(400):
        damaged = bytearray(content)
        damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        try:
            graph = CompiledGraph.from_bytes(bytes(damaged))
        except BackboneError as error:
            refused.append(str(error))
        else:
            assert graph == GRAPH
    assert len(refused) > 300
    assert all(message.isprintable() for message in refused)


@pytest.mark.parametrize(
    "damaged",
    [b"", b"hello", GRAPH.to_bytes()[:-1], GRAPH.to_bytes()[:2000], GRAPH.to_bytes()[1000:]],
    ids=["empty", "text", "a byte short", "start", "end"],
)
def test_data_that_are_not_a_graph_are_refused(damaged):
    with pytest.raises(BackboneError, match=r"wanted a compiled graph; the data is damaged: .+"):
        CompiledGraph.from_bytes(damaged)


def archive_of(members, compression=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def members(**header):
    with zipfile.ZipFile(io.BytesIO(GRAPH.to_bytes())) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    changed = json.loads(content["graph.json"]) | header
    return content | {"graph.json": json.dumps(changed).encode()}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (archive_of(members().items(), zipfile.ZIP_DEFLATED), "graph.json is compressed"),
        (archive_of([*members().items(), ("../../x", b"")]), "unknown members"),
        (archive_of([*members().items(), ("graph.pb", b"")]), None),
        (archive_of((members() | {"graph.bin": b"other"}).items()), "another SHA-256"),
        (archive_of(members(engine="tensorflow").items()), "not the files of a graph for tensor"),
        (archive_of(members(engine="torch").items()), "unknown engine"),
        (archive_of(members(format=1).items()), "another version of fruits"),
        (archive_of(members(dimension="7").items()), "no number of features"),
        (archive_of(members(dimension=True).items()), "no number of features"),
        (archive_of(members(backbone=7).items()), "a name is not text"),
        (archive_of(members(exact_decode="no").items()), "neither true nor false"),
        (archive_of(members(input={"height": 10**9}).items()), "height of 1 to 4096"),
        (archive_of(members(input={"height": 224, "resize": "magic"}).items()), "got 'magic'"),
        (archive_of(members(batch=10**6).items()), "batch of 1 to 64 images"),
        (archive_of(members(surprise=1).items()), "unexpected keyword"),
        (archive_of(members(padding="x" * 70_000).items()), "graph.json is too large"),
        (
            archive_of((members() | {"graph.json": b"[" * 60_000}).items()),
            "recursion|Expecting value",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_other_contents_is_refused(data, words):
    if words is None:  # A file that the header does not name is never read.
        assert CompiledGraph.from_bytes(data) == GRAPH
        return
    with pytest.raises(BackboneError, match=words) as caught:
        CompiledGraph.from_bytes(data)
    assert str(caught.value).isprintable()


def test_an_archive_that_would_expand_is_refused():
    """A compressed part of 200 MB, in 1 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("graph.json", members()["graph.json"])
        archive.writestr("graph.bin", bytes(200 << 20))
    with pytest.raises(BackboneError, match="is compressed"):
        CompiledGraph.from_bytes(buffer.getvalue())


def test_the_digest_covers_everything_in_a_graph():
    changes = [
        {"backbone": "VGG16"},
        {"weights_sha256": "cd" * 32},
        {"precision": "f32"},
        {"input": InputSpec(96)},
        {"dimension": 3},
        {"parts": GRAPH.parts | {"graph.xml": b"<net />"}},
        {"exact_decode": True},
        {"batch": 4},
    ]
    digests = {replace(GRAPH, **change).digest for change in changes}
    assert len(digests | {GRAPH.digest}) == len(changes) + 1
    assert CompiledGraph.from_bytes(GRAPH.to_bytes()).digest == GRAPH.digest


def test_a_network_is_loaded_once_and_cached_for_the_next_task(monkeypatch):
    loaded = []

    def loader(graph):
        loaded.append(graph.precision)
        return lambda pixels: np.zeros((len(pixels), 3), np.float32), "test"

    monkeypatch.setattr(engines, "_loaded", {})
    monkeypatch.setattr(engines, "_LOADERS", {"openvino": loader})
    assert load(NO_PARTS) is load(replace(NO_PARTS))
    load(replace(NO_PARTS, precision="bf16"))
    load(NO_PARTS)
    assert loaded == ["f32", "bf16", "f32"]


# One image at a time for TensorFlow, whose features would depend on the position in the batch.
@pytest.mark.parametrize(("engine", "size"), [("openvino", 2), ("tensorflow", 1)])
@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_network_gets_full_batches_for_any_number_of_images(monkeypatch, images, engine, size):
    batches = []

    def loader(graph):
        def first_pixel(pixels):
            batches.append(pixels)
            return pixels[:, 0, 0].astype(np.float32)

        return first_pixel, "test"

    monkeypatch.setattr(engines, "_loaded", {})
    monkeypatch.setattr(engines, "_LOADERS", {engine: loader})
    pixels = np.random.default_rng(0).integers(1, 256, (images, 4, 4, 3), np.uint8)
    network = load(replace(NO_PARTS, engine=engine, batch=0))
    np.testing.assert_array_equal(network(pixels), pixels[:, 0, 0])
    assert {len(batch) for batch in batches} == {size} == {BATCH_SIZES[engine]}
