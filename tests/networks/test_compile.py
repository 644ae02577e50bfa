import hashlib
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from runpy import run_module

import h5py
import numpy as np
import pytest
from pictures import difference, png
from PIL import Image

from fruits.errors import BackboneError
from fruits.images.decode import decode
from fruits.networks import compile as backbones
from fruits.networks import keras_weights as weight_files
from fruits.networks.catalogue import BACKBONES
from fruits.networks.compile import compile_backbone, keras_model
from fruits.networks.graph import ENGINES, PARTS, CompiledGraph, InputSpec
from fruits.networks.processor import openvino_precisions, tensorflow_precisions
from fruits.networks.runtime import featurize, load, what_ran

# The module of the preprocessing in the documentation of each network, and the side of its input.
PUBLISHED = {
    "MobileNetV2": ("keras.applications.mobilenet_v2", 224),
    "MobileNetV3Large": ("keras.applications.mobilenet_v3", 224),
    "ResNet50": ("keras.applications.resnet50", 224),
    "ResNet50V2": ("keras.applications.resnet_v2", 224),
    "EfficientNetB0": ("keras.applications.efficientnet", 224),
    "EfficientNetV2B0": ("keras.applications.efficientnet_v2", 224),
    "InceptionV3": ("keras.applications.inception_v3", 299),
    "VGG16": ("keras.applications.vgg16", 224),
    "EfficientNetLite0": ("fruits.networks.efficientnet_lite", 224),
}
DIMENSIONS = {
    "MobileNetV2": 1280,
    "MobileNetV3Large": 960,
    "ResNet50": 2048,
    "ResNet50V2": 2048,
    "EfficientNetB0": 1280,
    "EfficientNetV2B0": 1280,
    "InceptionV3": 2048,
    "VGG16": 512,
    "EfficientNetLite0": 1280,
}
TOLERANCE = 1e-4
PICTURES = 8


# The second engine runs the graph that was traced for the first: testing two networks is enough.
CASES = [
    (name, engine)
    for name in BACKBONES
    for engine in ENGINES
    if engine == "openvino" or name in ("MobileNetV2", "EfficientNetB0")
]

COMPILE_PROGRAM = """
import sys
from fruits.networks import compile as backbones
backbones._compile_in_subprocess = backbones._compile
for case in sys.argv[1:]:
    name, engine = case.split()
    backbones.compile_backbone(name, "random", engine)
    print(case, flush=True)
"""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A separate cache for this module: each backbone is compiled once."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FRUITS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module")
def compiled(cache):
    """Returns graphs with random weights, which another process compiles in the background."""
    cases = [f"{name} {engine}" for name, engine in CASES]
    command = [sys.executable, "-c", COMPILE_PROGRAM, *cases]
    done = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:

        def compiled(name, engine="openvino"):
            while f"{name} {engine}" not in done:
                done.append(process.stdout.readline().strip())
                assert done[-1], "the process has ended early"
            return compile_backbone(name, "random", engine)

        yield compiled
        process.terminate()


@pytest.fixture(scope="module")
def keras_features():
    """Keras' prediction of every other picture, computed once for each backbone."""
    made = {}

    def keras_features(name):
        if name not in made:
            module, side = PUBLISHED[name]
            model, sha256 = keras_model(name, "random")
            pixels = pictures(side)[::2].astype(np.float32)
            prepared = import_module(module).preprocess_input(pixels)
            made[name] = model(prepared, training=False).numpy(), sha256
        return made[name]

    return keras_features


def pictures(side):
    """Different smooth pictures: uint8 (PICTURES, side, side, 3)."""
    rng = np.random.default_rng(7)
    coarse = [rng.integers(0, 256, (n, n, 3), np.uint8) for n in range(2, 2 + PICTURES)]
    return np.stack([np.asarray(Image.fromarray(few).resize((side, side))) for few in coarse])


def cosine(found, wanted):
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    return ((found * wanted).sum(axis=1) / lengths).min()


# The features of a compiled backbone


def test_every_backbone_is_tested():
    assert set(PUBLISHED) == set(DIMENSIONS) == set(BACKBONES)


@pytest.mark.parametrize(("name", "engine"), CASES)
def test_features_agree_with_keras(name, engine, compiled, keras_features):
    wanted, sha256 = keras_features(name)
    graph = compiled(name, engine)
    side = PUBLISHED[name][1]

    features = load(graph)(pictures(side))
    found = features[::2]

    assert (graph.engine, graph.input.height, graph.dimension) == (engine, side, DIMENSIONS[name])
    assert features.shape == (PICTURES, DIMENSIONS[name])
    assert features.dtype == np.float32
    assert difference(found, wanted) < TOLERANCE
    # The random weights are the same in another process.
    assert graph.weights_sha256 == sha256
    # The comparison is meaningful: features are of order one and differ between pictures.
    assert 0.05 < wanted.std() < 20
    assert difference(np.roll(wanted, 1, axis=0), wanted) > 100 * TOLERANCE


@pytest.fixture(scope="module")
def mobilenet():
    return keras_model("MobileNetV2", "random")[0]


@pytest.mark.parametrize("size", [(100, 100), (60, 90), (400, 300), (640, 480)])
def test_a_file_is_decoded_as_in_keras(tmp_path, size, compiled, mobilenet):
    from keras.applications.mobilenet_v2 import preprocess_input
    from keras.utils import img_to_array, load_img

    path = tmp_path / "picture.jpg"
    Image.fromarray(pictures(224)[3]).resize(size).save(path, quality=90)
    loaded = load_img(path, target_size=(224, 224), interpolation="bicubic")
    found = decode(path.read_bytes(), 224)
    # Files of less than twice the wanted side are decoded at full scale, others at a reduced scale.
    assert np.abs(found - img_to_array(loaded)).max() <= (0 if max(size) <= 448 else 12)

    wanted = mobilenet(preprocess_input(img_to_array(loaded)[None]), training=False).numpy()
    [features] = featurize([path.read_bytes()], compiled("MobileNetV2"))
    assert difference(features, wanted[0]) < (TOLERANCE if max(size) <= 448 else 0.1)


def test_interpolation_agrees_with_tensorflow():
    import tensorflow as tf

    for height, width in ((300, 500), (40, 30)):
        noise = np.random.default_rng(0).integers(64, 192, (height, width, 3), np.uint8)
        wanted = tf.image.resize(noise, (224, 224), method="bicubic", antialias=True)
        found = decode(png(noise), 224)
        # Pillow rounds to integers between its two passes.
        assert np.abs(found - wanted.numpy()).max() < 2


@pytest.fixture(params=ENGINES)
def graph(request, compiled):
    return compiled("MobileNetV2", request.param)


def test_features_depend_neither_on_the_position_in_the_batch_nor_on_the_other_images(graph):
    network, pixels = load(graph), pictures(graph.input.height)
    together = network(pixels)
    for shift in (1, 3):
        np.testing.assert_array_equal(
            network(np.roll(pixels, shift, axis=0)), np.roll(together, shift, axis=0)
        )
    for row in (0, PICTURES - 1):
        alone = np.zeros_like(pixels)
        alone[row] = pixels[2]
        np.testing.assert_array_equal(network(alone)[row], together[2])


def test_a_result_is_not_overwritten_by_the_next_one(graph):
    network, pixels = load(graph), pictures(graph.input.height)
    first = network(pixels)
    kept = first.copy()
    network(255 - pixels)
    np.testing.assert_array_equal(first, kept)


def test_an_incomplete_last_batch_gives_the_same_features(graph):
    contents = [png(pixels) for pixels in pictures(graph.input.height)]
    whole = list(featurize(contents, graph))
    longer = list(featurize([*contents, b"no image", *contents[:4]], graph))
    assert longer[PICTURES].startswith("not an image")
    del longer[PICTURES]
    np.testing.assert_array_equal(longer, [*whole, *whole[:4]])


def test_bf16_gives_similar_features_and_does_not_change_f32(graph):
    pixels = pictures(graph.input.height)
    exact = load(graph)(pixels)
    able = {"openvino": openvino_precisions, "tensorflow": tensorflow_precisions}[graph.engine]
    if "bf16" not in able():
        pytest.skip("this processor has no bfloat16; that it is refused is tested elsewhere")
    short = load(replace(graph, precision="bf16"))(pixels)
    assert " bf16 " in what_ran(replace(graph, precision="bf16"))
    assert cosine(short, exact) > 0.99
    assert difference(short, exact) < 0.1
    np.testing.assert_array_equal(load(graph)(pixels), exact)


@pytest.mark.parametrize("engine", ENGINES)
def test_bf16_is_refused_on_a_processor_that_would_compute_in_f32(engine, compiled, monkeypatch):
    graph = compiled("MobileNetV2", engine)
    monkeypatch.setattr(f"fruits.networks.processor.{engine}_precisions", lambda: ["f32"])
    with pytest.raises(BackboneError, match=r"wanted bf16; the processor of .+ has no bfloat16"):
        load(replace(graph, precision="bf16"))
    assert re.fullmatch(rf"{engine} [0-9.]+ f32 \w+", what_ran(graph))


# Graphs with forbidden operations


def changed_xml(graph, old, new):
    xml = graph.parts["graph.xml"]
    assert old in xml
    return replace(graph, parts=graph.parts | {"graph.xml": xml.replace(old, new, 1)})


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'version="opset1"', b'version="extension"', r"of extension"),
        (b'version="opset1"', b'version="mylib"', r"of mylib"),
        (b"<net", b'<!DOCTYPE net [<!ENTITY a "aaa">]><net', r"document type"),
        (b'size="', b'size="999999999', r"a constant that is not in its file"),
        (b'offset="', b'offset="999999999', r"a constant that is not in its file"),
        (b"</net>", b"", r"no element found"),
    ],
)
def test_an_openvino_graph_with_other_operations_is_refused(compiled, old, new, words):
    graph = compiled("MobileNetV2")
    load(graph)
    with pytest.raises(BackboneError, match=words) as caught:
        load(changed_xml(graph, old, new))
    assert str(caught.value).isprintable()


def malicious(kind, target):
    import tensorflow as tf

    with tf.Graph().as_default() as built:
        pixels = tf.compat.v1.placeholder(tf.uint8, (1, 224, 224, 3), name="pixels")
        nothing = tf.constant(np.zeros((1, 1280), np.float32))
        features = nothing + tf.reduce_sum(tf.cast(pixels, tf.float32))
        if kind == "WriteFile":
            with tf.control_dependencies([tf.io.write_file(str(target), "taken")]):
                features = tf.identity(features)
        if kind == "ReadFile":
            features += tf.cast(tf.strings.length(tf.io.read_file(str(target))), tf.float32)
        if kind == "EagerPyFunc":
            features += tf.py_function(lambda: target.write_text("taken") and 1.0, [], tf.float32)
        if kind == "functions":
            features += tf.function(lambda: tf.constant(1.0))()
        tf.identity(features, name="features")
        definition = built.as_graph_def()
    if kind == "a constant of 4000000000 bytes":
        node = next(n for n in definition.node if n.op == "Const")
        tensor = node.attr["value"].tensor
        tensor.CopyFrom(tf.make_tensor_proto(1.0, shape=[1]))
        tensor.tensor_shape.dim[0].size = 1_000_000_000
    return definition.SerializeToString()


@pytest.mark.parametrize(
    "kind",
    ["WriteFile", "ReadFile", "EagerPyFunc", "functions", "a constant of 4000000000 bytes"],
)
def test_a_tensorflow_graph_with_other_operations_is_refused(compiled, tmp_path, kind):
    graph = compiled("MobileNetV2", "tensorflow")
    target = tmp_path / "target"
    bad = replace(graph, parts={"graph.pb": malicious(kind, target)})
    with pytest.raises(BackboneError, match=f"got one with .*{kind}") as caught:
        load(bad)
    assert str(caught.value).isprintable()
    assert not target.exists()
    # Only this makes it invalid.
    harmless = replace(graph, parts={"graph.pb": malicious("", target)})
    assert load(harmless)(np.ones((1, 224, 224, 3), np.uint8))[0, 0] == 224 * 224 * 3


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", [{"dimension": 1000}, {"input": InputSpec(225)}])
def test_a_graph_with_wrong_shapes_is_refused(compiled, engine, change):
    with pytest.raises(BackboneError, match=r"wanted a compiled graph from .*; got one from"):
        load(replace(compiled("MobileNetV2", engine), **change))


# The cache of compiled graphs

WARM_PROGRAM = """
import sys
import numpy as np
from fruits.networks.compile import compile_backbone
from fruits.networks.runtime import featurize
graph = compile_backbone("MobileNetV2", "random")
np.save(sys.argv[2], list(featurize([open(sys.argv[1], "rb").read()], graph)))
print(*sorted({"tensorflow", "keras", "openvino"} & set(sys.modules)))
"""


def test_a_second_run_uses_the_cache_without_importing_tensorflow(cache, compiled, tmp_path):
    graph = compiled("MobileNetV2")
    for case in CASES:
        compiled(*case)
    [content] = [png(pictures(224)[2])]
    (tmp_path / "picture.png").write_bytes(content)
    before = {path: path.stat().st_mtime_ns for path in cache.iterdir()}

    done = subprocess.run(
        [sys.executable, "-c", WARM_PROGRAM, tmp_path / "picture.png", tmp_path / "found.npy"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == ["openvino"]
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == before
    np.testing.assert_array_equal(
        np.load(tmp_path / "found.npy"), list(featurize([content], graph))
    )


def test_one_cached_graph_is_used_for_both_precisions(compiled, monkeypatch):
    graph = compiled("MobileNetV2")
    monkeypatch.setattr(backbones, "_compile_in_subprocess", None)
    assert compile_backbone("MobileNetV2", "random", precision="bf16") == replace(
        graph, precision="bf16"
    )


@pytest.fixture
def own_cache(cache, compiled, tmp_path, monkeypatch):
    """A separate cache for the test; returns the file of MobileNetV2 and its content."""
    graph = compiled("MobileNetV2")
    files = {path.name: path.read_bytes() for path in cache.glob("MobileNetV2-*.graph")}
    [name] = [name for name, data in files.items() if CompiledGraph.from_bytes(data) == graph]
    folder = tmp_path / "deep" / "cache"
    monkeypatch.setenv("FRUITS_CACHE", str(folder))
    return folder / name, files[name]


CONCURRENT_PROGRAM = """
import sys, time
from pathlib import Path
from fruits.networks import compile as backbones
def compile_slowly(name, weights, engine, target):
    content = Path(sys.argv[1]).read_bytes()
    with open(target, "wb") as file:
        file.write(content[:1000])
        file.flush()
        time.sleep(1)
        file.write(content[1000:])
backbones._compile_in_subprocess = compile_slowly
print(backbones.compile_backbone("MobileNetV2", "random").weights_sha256)
"""


def test_processes_that_compile_at_the_same_time_all_get_a_graph(own_cache, tmp_path):
    path, content = own_cache
    path.parent.mkdir(parents=True)
    path.write_bytes(content[:-1000])  # Damaged, so that all compile.
    (tmp_path / "content").write_bytes(content)

    command = [sys.executable, "-c", CONCURRENT_PROGRAM, tmp_path / "content"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]

    sha256 = CompiledGraph.from_bytes(content).weights_sha256
    assert [run.communicate()[0].strip() for run in runs] == [sha256] * 3
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"hello",
        lambda content: content[: len(content) // 2],
        lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    ],
    ids=["empty", "text", "truncated", "one bit"],
)
def test_a_damaged_graph_in_the_cache_is_compiled_again(own_cache, damage, monkeypatch):
    path, content = own_cache
    path.parent.mkdir(parents=True)
    path.write_bytes(damage(content))
    compiled = []

    def compile_stand_in(*arguments):
        compiled.append(arguments[:-1])
        Path(arguments[-1]).write_bytes(content)

    monkeypatch.setattr(backbones, "_compile_in_subprocess", compile_stand_in)
    for _ in range(2):
        assert compile_backbone("MobileNetV2", "random") == CompiledGraph.from_bytes(content)
    assert compiled == [("MobileNetV2", "random", "openvino")]
    assert path.read_bytes() == content


def test_only_its_owner_can_access_a_cached_graph(own_cache, compiled, monkeypatch):
    path, content = own_cache
    monkeypatch.setattr(
        backbones, "_compile_in_subprocess", lambda *a: Path(a[-1]).write_bytes(content)
    )
    umask = os.umask(0)
    try:
        compile_backbone("MobileNetV2", "random")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def other_engine(content):
    graph = CompiledGraph.from_bytes(content)
    return replace(graph, engine="tensorflow", parts={"graph.pb": b""}).to_bytes()


def other_network(content):
    return replace(CompiledGraph.from_bytes(content), backbone="VGG16").to_bytes()


def other_side(content):
    return replace(CompiledGraph.from_bytes(content), input=InputSpec(96)).to_bytes()


def other_dimension(content):
    return replace(CompiledGraph.from_bytes(content), dimension=512).to_bytes()


@pytest.mark.parametrize("change", [other_engine, other_network, other_side, other_dimension])
def test_a_wrong_graph_in_the_cache_is_compiled_again(own_cache, monkeypatch, change):
    path, content = own_cache
    path.parent.mkdir(parents=True)
    path.write_bytes(change(content))
    path.chmod(0o600)
    monkeypatch.setattr(
        backbones, "_compile_in_subprocess", lambda *a: Path(a[-1]).write_bytes(content)
    )
    assert compile_backbone("MobileNetV2", "random") == CompiledGraph.from_bytes(content)
    assert path.read_bytes() == content


def writable_by_the_group(path):
    path.chmod(0o620)


def writable_by_all(path):
    path.chmod(0o602)


def of_another_user(path):
    if os.getuid():
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)


def behind_a_link(path):
    path.rename(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"))


def a_pipe(path):
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize(
    "expose", [writable_by_the_group, writable_by_all, of_another_user, behind_a_link, a_pipe]
)
def test_a_graph_that_another_user_could_have_written_is_compiled_again(
    own_cache, monkeypatch, expose
):
    path, content = own_cache
    foreign = replace(CompiledGraph.from_bytes(content), weights_sha256="foreign")
    path.parent.mkdir(parents=True)
    path.write_bytes(foreign.to_bytes())
    path.chmod(0o600)
    monkeypatch.setattr(
        backbones, "_compile_in_subprocess", lambda *a: Path(a[-1]).write_bytes(content)
    )
    # Unchanged, it is accepted: the digest of random weights is not known beforehand.
    assert compile_backbone("MobileNetV2", "random") == foreign
    expose(path)
    assert compile_backbone("MobileNetV2", "random") == CompiledGraph.from_bytes(content)
    assert not path.is_symlink()
    assert path.read_bytes() == content


def test_other_weights_engines_and_backbones_have_separate_graphs(tmp_path, monkeypatch):
    def compile_stand_in(name, weights, engine, target):
        graph = CompiledGraph(
            name,
            weight_files.identity(weights),
            engine,
            "f32",
            BACKBONES[name].input,
            BACKBONES[name].dimension,
            dict.fromkeys(PARTS[engine], b""),
        )
        Path(target).write_bytes(graph.to_bytes())

    monkeypatch.setattr(backbones, "_compile_in_subprocess", compile_stand_in)
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "cache"))
    for content in (b"one", b"other"):
        (tmp_path / f"{content.decode()}.h5").write_bytes(content)
    cases = [
        ("MobileNetV2", "random", "openvino"),
        ("MobileNetV2", "random", "tensorflow"),
        ("MobileNetV2", "imagenet", "openvino"),
        ("MobileNetV2", str(tmp_path / "one.h5"), "openvino"),
        ("MobileNetV2", str(tmp_path / "other.h5"), "openvino"),
        ("VGG16", "random", "openvino"),
    ]
    digests = {
        str(tmp_path / f"{word}.h5"): hashlib.sha256(word.encode()).hexdigest()
        for word in ("one", "other")
    }
    for _ in range(2):
        for case in cases:
            graph = compile_backbone(*case)
            name, weights, engine = case
            assert (graph.backbone, graph.engine) == (name, engine)
            assert graph.weights_sha256 == digests.get(weights, weights)
    # Only the content of a file matters, not its path.
    (tmp_path / "copy.h5").write_bytes(b"one")
    compile_backbone("MobileNetV2", str(tmp_path / "copy.h5"))
    assert len(list((tmp_path / "cache").iterdir())) == len(cases)
    (tmp_path / "one.h5").write_bytes(b"changed")
    (tmp_path / "other.h5").unlink()
    compile_backbone("MobileNetV2", str(tmp_path / "one.h5"))
    assert len(list((tmp_path / "cache").iterdir())) == len(cases) + 1


# Errors


@pytest.mark.parametrize(
    "options", [{"name": "MobileNetV9"}, {"engine": "torch"}, {"precision": "f16"}]
)
def test_an_unknown_value_is_refused_with_the_valid_values(options):
    with pytest.raises(BackboneError, match=r"wanted one of .*, .*; got '(MobileNetV9|torch|f16)'"):
        compile_backbone(**{"name": "MobileNetV2", "weights": "random", **options})


def test_an_error_of_compiling_is_one_line(tmp_path, monkeypatch, capfd):
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["nothing"] = np.zeros(3)
    arguments = [
        "fruits.networks.compile",
        "MobileNetV2",
        str(path),
        "openvino",
        str(tmp_path / "graph"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.delitem(sys.modules, "fruits.networks.compile")
    with pytest.raises(SystemExit) as ended:
        run_module("fruits.networks.compile", run_name="__main__")
    assert ended.value.code == 2
    last_line = capfd.readouterr().err.splitlines()[-1]
    assert last_line.startswith(f"weights: {path} does not fit MobileNetV2: wanted 260 arrays")
    assert last_line.endswith("give a file of MobileNetV2")


TELEMETRY_PROGRAM = """
import socket, sys
def refuse(*arguments):
    raise SystemExit(f"the network was asked: {arguments}")
socket.getaddrinfo = socket.socket.connect = refuse
from fruits.networks import compile as backbones
backbones._compile("MobileNetV2", "random", "openvino", sys.argv[1])
import openvino.tools.ovc.telemetry_utils as used
print(used.tm.__name__)
"""


def test_compiling_sends_no_telemetry(tmp_path):
    """Even if the telemetry package is installed."""
    home, site = tmp_path / "home", tmp_path / "site" / "openvino_telemetry"
    home.mkdir()
    site.mkdir(parents=True)
    (site / "__init__.py").write_text("raise SystemExit('telemetry was imported')")
    environment = {**os.environ, "HOME": str(home)}
    environment["PYTHONPATH"] = f"{site.parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment.pop("KERAS_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", TELEMETRY_PROGRAM, tmp_path / "graph"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "openvino.tools.ovc.telemetry_stub"
    assert not (home / "intel").exists()


def stand_in(tmp_path, monkeypatch, script):
    """Replaces the Python interpreter for compiling by a shell script."""
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "cache"))


def test_an_error_of_the_child_process_is_raised(tmp_path, monkeypatch):
    script = "echo Downloading; echo noise >&2; echo 'weights: out of reach; go on' >&2; exit 2"
    stand_in(tmp_path, monkeypatch, script)
    with pytest.raises(BackboneError) as caught:
        compile_backbone("MobileNetV2", "random")
    assert str(caught.value) == "weights: out of reach; go on"
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_crash_of_the_compiler_is_not_an_error_of_the_user(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "echo out of luck >&2; kill -11 $$")
    with pytest.raises(RuntimeError, match=r"compiling MobileNetV2 .* -11:\nout of luck"):
        compile_backbone("MobileNetV2", "random")
    assert list((tmp_path / "cache").iterdir()) == []


def test_an_unwritable_cache_is_reported_before_compiling(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(backbones, "_compile_in_subprocess", None)
    with pytest.raises(BackboneError, match=r"cannot be stored in .*file/cache.*set FRUITS_CACHE"):
        compile_backbone("MobileNetV2", "random")
