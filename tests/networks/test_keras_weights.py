import dataclasses
import hashlib
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
import zlib
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras.applications import mobilenet_v2
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group
from keras.src.utils import file_utils
from pictures import difference

from fruits.errors import BackboneError, StorageError
from fruits.networks import download
from fruits.networks.catalogue import BACKBONES
from fruits.networks.compile import compile_backbone, keras_model
from fruits.networks.keras_weights import identity, weighted
from fruits.networks.runtime import load

# A warning of Keras for each array that it writes.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

# Weights do not depend on the side; small pictures save time.
SIDES = {"MobileNetV2": 64, "EfficientNetB0": 64, "InceptionV3": 96}


class Zoo:
    """A source and a target for each backbone; the target is reset before each use."""

    def __init__(self):
        self.bases, self.targets, self.tops = {}, {}, {}

    @staticmethod
    def build(name, **options):
        side = SIDES[name]
        shape = {"include_top": False, "pooling": "avg", "input_shape": (side, side, 3)}
        return getattr(keras.applications, name)(**{"weights": None, **shape, **options})

    @staticmethod
    def pixels(name):
        coarse = np.random.default_rng(3).uniform(0, 255, (2, 4, 4, 3)).astype(np.float32)
        return keras.ops.image.resize(coarse, (SIDES[name],) * 2, interpolation="bicubic")

    def base(self, name):
        """A source with different variables and features that are not zero."""
        if name not in self.bases:
            base, _ = weighted(name, lambda source: self.build(name), lambda x: x, "random")
            rng = np.random.default_rng(1)
            for layer in base.layers:
                if isinstance(layer, layers.BatchNormalization):
                    for variable in layer.weights:
                        values = variable.numpy()
                        values *= rng.uniform(0.8, 1.2, values.shape)
                        values += rng.uniform(0, 0.1, values.shape)
                        variable.assign(values)
                if isinstance(layer, layers.Normalization):
                    layer.set_weights(
                        [np.array([0.1, 0.2, 0.3]), np.array([0.9, 0.5, 0.7]), np.array(5)]
                    )
                    layer.finalize_state()
            self.bases[name] = base, base(self.pixels(name), training=False).numpy()
        return self.bases[name]

    def top(self, name):
        """The source with a top for seven classes."""
        if name not in self.tops:
            side = SIDES[name]
            top = self.build(name, include_top=True, classes=7, input_shape=(side, side, 3))
            base, _ = self.base(name)
            top.set_weights([*base.get_weights(), *top.get_weights()[-2:]])
            self.tops[name] = top
        return self.tops[name]

    def fill(self, name, path):
        """Fills the target from a file; returns it, the digest of the file, and its features."""
        if name not in self.targets:
            self.targets[name] = self.build(name)
        target = self.targets[name]
        for variable in target.weights:
            empty = np.nan if variable.dtype == "float32" else 0
            variable.assign(np.full(variable.shape, empty, variable.dtype))
        model, sha256 = weighted(name, lambda source: target, None, str(path))
        assert model is target
        # Not `predict`, which would cache the first statistics of Normalization.
        return model, sha256, model(self.pixels(name), training=False).numpy()


@pytest.fixture(scope="module")
def zoo():
    return Zoo()


# Ways to use a backbone in a model


def alone(base):
    return base


def nested(base):
    head = [layers.Dropout(0.2), layers.Dense(3)]
    return keras.Sequential([layers.Input(base.input_shape[1:]), layers.Rescaling(1), base, *head])


def flattened(base):
    return keras.Model(base.input, layers.Dense(4)(layers.Dropout(0.1)(base.output)))


@contextmanager
def frozen(base, share):
    """The first layers of the base are frozen."""
    count = int(len(base.layers) * share)
    for layer in base.layers[:count]:
        layer.trainable = False
    if share == 1:
        base.trainable = False
    try:
        yield
    finally:
        base.trainable = True


# Ways to save a model


def keras3_weights(model, folder):
    model.save_weights(folder / "model.weights.h5")
    return folder / "model.weights.h5"


def keras3_model(model, folder):
    model.save(folder / "model.keras")
    return folder / "model.keras"


def legacy_model(model, folder):
    model.save(folder / "model.h5")
    return folder / "model.h5"


def legacy_weights(model, folder):
    with h5py.File(folder / "weights.h5", "w") as file:
        save_weights_to_hdf5_group(file, model)
    return folder / "weights.h5"


FORMATS = [keras3_weights, keras3_model, legacy_model, legacy_weights]


def check(zoo, name, path):
    """Checks that a file gives the features, the weights and the digest of the source."""
    base, features = zoo.base(name)
    model, sha256, found = zoo.fill(name, path)
    assert 0.01 < features.std() < 100
    assert difference(found, features) < 1e-5
    for variable, wanted in zip(model.weights, base.weights, strict=True):
        np.testing.assert_array_equal(variable.numpy(), wanted.numpy(), err_msg=variable.path)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == identity(str(path))


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize(("arrangement", "share"), [(alone, 0), (nested, 0.6), (flattened, 0.6)])
def test_a_backbone_is_found_in_every_kind_of_file(zoo, tmp_path, save, arrangement, share):
    base, _ = zoo.base("MobileNetV2")
    with frozen(base, share):
        path = save(arrangement(base), tmp_path)
    check(zoo, "MobileNetV2", path)


# The order in a legacy file depends on which layers are trainable.
@pytest.mark.parametrize("share", [0, 1])
@pytest.mark.parametrize("save", [legacy_model, legacy_weights])
def test_a_fully_trainable_or_frozen_backbone_is_found(zoo, tmp_path, save, share):
    base, _ = zoo.base("MobileNetV2")
    with frozen(base, share):
        path = save(nested(base), tmp_path)
    check(zoo, "MobileNetV2", path)


# EfficientNetB0 has a Normalization layer with weights. InceptionV3 has layers without names, whose
# numbers continue from the source to the target.
@pytest.mark.parametrize(
    ("save", "arrangement", "share"),
    [
        (keras3_weights, alone, 0),
        (keras3_model, nested, 0.6),
        (legacy_model, nested, 0.6),
        (legacy_weights, alone, 0),
        (legacy_weights, flattened, 1),
    ],
)
@pytest.mark.parametrize("name", ["EfficientNetB0", "InceptionV3"])
def test_backbones_with_unusual_layers_are_found(zoo, tmp_path, save, arrangement, share, name):
    base, _ = zoo.base(name)
    with frozen(base, share):
        path = save(arrangement(base), tmp_path)
    check(zoo, name, path)


def test_keras_numbers_layers_without_names_within_a_session(zoo):
    base, other = zoo.base("InceptionV3")[0], zoo.build("InceptionV3")
    assert base.layers[1].name != other.layers[1].name


@pytest.mark.parametrize(
    ("name", "save"),
    [*(("MobileNetV2", save) for save in FORMATS), ("InceptionV3", legacy_weights)],
)
def test_a_top_of_any_size_is_ignored(zoo, tmp_path, name, save):
    check(zoo, name, save(zoo.top(name), tmp_path))


@pytest.mark.parametrize("save", FORMATS)
def test_the_top_of_a_nested_backbone_is_ignored(zoo, tmp_path, save):
    top = zoo.top("MobileNetV2")
    model = keras.Sequential([layers.Input(top.input_shape[1:]), layers.Rescaling(2), top])
    check(zoo, "MobileNetV2", save(model, tmp_path))


@pytest.mark.parametrize("save", [keras3_model, legacy_model])
def test_the_state_of_the_optimizer_is_ignored(zoo, tmp_path, save):
    model = nested(zoo.base("MobileNetV2")[0])
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    check(zoo, "MobileNetV2", save(model, tmp_path))


def write_keras2(path, groups, root=""):
    """Writes a file like Keras 2: groups of arrays, in the order of attributes."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root) if root else file
        group.attrs["layer_names"] = [name.encode() for name in groups]
        group.attrs["keras_version"] = b"2.11.0"
        for name, arrays in groups.items():
            layer = group.create_group(name)
            layer.attrs["weight_names"] = [key.encode() for key in arrays]
            for key, array in arrays.items():
                layer[key] = array
    return path


def keras2_arrays(variables):
    names = [variable.path.split("/")[-2:] for variable in variables]
    return {
        "/".join([layer, f"depthwise_{own}" if "depthwise" in layer else own]) + ":0": v.numpy()
        for (layer, own), v in zip(names, variables, strict=True)
    }


@pytest.mark.parametrize("root", ["", "model_weights"])
def test_a_file_of_keras_2_is_read(zoo, tmp_path, root):
    base, _ = zoo.base("MobileNetV2")
    groups = {layer.name: keras2_arrays(layer.weights) for layer in base.layers}
    assert "expanded_conv_depthwise/depthwise_kernel:0" in groups["expanded_conv_depthwise"]
    check(zoo, "MobileNetV2", write_keras2(tmp_path / "two.h5", groups, root))


@pytest.mark.parametrize("share", [0, 0.6, 1])
@pytest.mark.parametrize("name", ["MobileNetV2", "InceptionV3"])
def test_a_file_of_keras_2_with_a_nested_backbone_is_read(zoo, tmp_path, name, share):
    base, _ = zoo.base(name)
    with frozen(base, share):
        order = [*base.trainable_weights, *base.non_trainable_weights]
        groups = {
            "rescaling": {},
            "backbone": keras2_arrays(order),
            "dense": {"dense/kernel:0": np.ones((8, 3)), "dense/bias:0": np.ones(3)},
        }
    check(zoo, name, write_keras2(tmp_path / "two.h5", groups, "model_weights"))


# EfficientNet's ImageNet weights need an additional layer


@pytest.fixture(scope="module")
def imagenet_like(zoo, tmp_path_factory):
    """EfficientNetB0 as Keras builds it for ImageNet, and the plain network with its weights."""
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

    def normalizing(model, variance):
        [norm] = [layer for layer in model.layers if isinstance(layer, layers.Normalization)]
        norm.set_weights([mean, variance, np.array(0)])
        norm.finalize_state()
        return model

    def build(source):
        return normalizing(zoo.build("EfficientNetB0"), deviation**2)

    plain, _ = weighted("EfficientNetB0", build, lambda x: x, "random")
    normalizing(plain, deviation)
    path = keras3_weights(plain, tmp_path_factory.mktemp("imagenet"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_utils, "get_file", lambda *_, **__: str(path))
        with_layer = zoo.build("EfficientNetB0", weights="imagenet")
    features = with_layer(zoo.pixels("EfficientNetB0"), training=False).numpy()
    assert 0.01 < features.std() < 100
    assert difference(plain(zoo.pixels("EfficientNetB0"), training=False).numpy(), features) > 0.1
    return plain, with_layer, features


@pytest.mark.parametrize(
    ("save", "arrangement"),
    [(keras3_weights, alone), (keras3_model, nested), (legacy_model, nested)],
)
def test_a_model_that_started_from_imagenet_weights_keeps_their_scale(
    zoo, tmp_path, imagenet_like, save, arrangement
):
    _, model, features = imagenet_like
    path = save(arrangement(model), tmp_path)
    assert difference(zoo.fill("EfficientNetB0", path)[2], features) < 1e-4


def test_keras_imagenet_file_may_be_given_by_path(zoo, tmp_path, imagenet_like):
    # The published file is older than the layer that corrects the scale.
    plain, _, features = imagenet_like
    path = legacy_weights(plain, tmp_path)
    assert difference(zoo.fill("EfficientNetB0", path)[2], features) < 1e-4


# Locations of files


def test_a_file_is_given_by_path_or_uri(zoo, tmp_path, monkeypatch):
    path = legacy_weights(zoo.base("MobileNetV2")[0], tmp_path)
    odd = tmp_path / "odd #1 %20 name.H5"
    shutil.copy(path, odd)
    check(zoo, "MobileNetV2", odd)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with fsspec.open("memory://models/MODEL.weights.h5", "wb") as file:
        file.write(path.read_bytes())
    monkeypatch.chdir(tmp_path)
    for uri in (f"file://{path}", path.name, "memory://models/MODEL.weights.h5"):
        assert identity(uri) == sha256
        _, found_sha256, found = zoo.fill("MobileNetV2", uri)
        assert found_sha256 == sha256
        assert difference(found, zoo.base("MobileNetV2")[1]) < 1e-5


def test_the_suffix_may_be_in_capitals(zoo, tmp_path):
    path = keras3_model(zoo.base("MobileNetV2")[0], tmp_path)
    check(zoo, "MobileNetV2", path.rename(tmp_path / "MODEL.KERAS"))


def test_a_backbone_is_compiled_from_a_file(zoo, tmp_path):
    base, _ = zoo.base("MobileNetV2")
    path = legacy_model(nested(base), tmp_path)
    model, sha256 = keras_model("MobileNetV2", str(path))
    assert model.input_shape == (None, 224, 224, 3)
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    for found, wanted in zip(model.get_weights(), base.get_weights(), strict=True):
        np.testing.assert_array_equal(found, wanted)


# Unusable files


def refusal(zoo, name, path, error=BackboneError):
    with pytest.raises(error) as caught:
        zoo.fill(name, path)
    assert str(caught.value).isprintable(), "one line"
    return str(caught.value)


@pytest.mark.parametrize(
    ("save", "arrangement"),
    [*((save, alone) for save in FORMATS), (keras3_model, nested), (legacy_model, nested)],
)
def test_a_file_of_another_backbone_is_refused(zoo, tmp_path, save, arrangement):
    path = save(arrangement(zoo.base("EfficientNetB0")[0]), tmp_path)
    message = refusal(zoo, "MobileNetV2", path)
    assert f"{path} does not fit MobileNetV2: wanted 260 arrays" in message
    assert "choose the backbone that the file belongs to" in message


def tower(depths):
    """A network with layers named by stage and number, like ResNet's."""
    inputs = x = layers.Input((8, 8, 3))
    for stage, depth in enumerate(depths):
        for number in range(depth):
            x = layers.Conv2D(4 + 2 * stage, 1, name=f"stage{stage}_block{number}_conv")(x)
            x = layers.BatchNormalization(name=f"stage{stage}_block{number}_bn")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("save", FORMATS)
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_deeper_network_of_the_same_family_is_refused(tmp_path, save, share):
    deeper = tower([2, 3, 2])
    with frozen(deeper, share):
        path = save(nested(deeper), tmp_path)
    target = tower([2, 2, 2])
    with pytest.raises(BackboneError, match="does not fit Tower"):
        weighted("Tower", lambda source: target, None, str(path))
    assert weighted("Tower", lambda source: tower([2, 3, 2]), None, str(path))


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path, start):
    with path.open("r+b") as file:
        file.seek(start)
        file.write(bytes(1000))


def overwrite_structure(path):
    overwrite(path, 200)


def overwrite_values(path):
    overwrite(path, path.stat().st_size // 2)


def drop_weights(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")


@pytest.mark.parametrize(
    ("save", "damage"),
    [
        (keras3_weights, truncate),
        (keras3_model, truncate),
        (legacy_model, truncate),
        (keras3_weights, overwrite_structure),
        (legacy_weights, overwrite_structure),
        (keras3_model, overwrite_values),
        (keras3_model, drop_weights),
    ],
)
def test_a_damaged_file_is_refused(zoo, tmp_path, save, damage):
    path = save(zoo.base("MobileNetV2")[0], tmp_path)
    damage(path)
    assert f"{path} is another file or damaged (" in refusal(zoo, "MobileNetV2", path)


@pytest.mark.parametrize("name", ["model.h5", "model.weights.h5", "model.keras"])
@pytest.mark.parametrize("content", [b"", b"hello\n", b"<html>404</html>" * 100])
def test_text_with_the_name_of_a_model_is_refused(zoo, tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    message = refusal(zoo, "MobileNetV2", path)
    assert f"wanted a Keras weights or model file; {path} is another file or damaged (" in message


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("{tmp}/none.h5", "none.h5 cannot be read (No such file or directory): give"),
        ("{tmp}/folder.keras", "folder.keras cannot be read (Is a directory): give"),
        ("file://{tmp}/none.h5", "none.h5 cannot be read (No such file or directory): give"),
        ("memory://none.h5", "none.h5 cannot be read (FileNotFoundError: "),
        ("{tmp}/model.pt", "imagenet, random, or a Keras file that ends in .h5 or .keras; got '"),
        ("ImageNet", "imagenet, random, or a Keras file that ends in .h5 or .keras; got 'Image"),
    ],
)
def test_unreadable_weights_are_refused_with_a_remedy(zoo, tmp_path, uri, words):
    (tmp_path / "folder.keras").mkdir()
    (tmp_path / "model.pt").write_bytes(b"")
    uri = uri.format(tmp=tmp_path)
    assert words in refusal(zoo, "MobileNetV2", uri)
    with pytest.raises(BackboneError) as caught:
        identity(uri)
    assert words in str(caught.value)


def test_missing_credentials_of_a_store_are_reported(zoo, monkeypatch, tmp_path):
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    message = refusal(zoo, "MobileNetV2", "s3a://bucket/model.h5", StorageError)
    assert message.startswith("s3a://bucket/model.h5: the store refuses the credentials, or there")
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message


# Malicious files

HOSTILE_PROGRAM = """
import resource, sys
from fruits.errors import BackboneError
from fruits.networks import keras_weights
import h5py, keras
model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(2, name="dense")])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        keras_weights.weighted("Net", lambda source: model, None, path)
        print("accepted", model.get_weights()[0].tolist())
    except BackboneError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def legacy_group(file, kernel):
    """A file of Keras 2 for a layer of three by two; ``kernel`` writes its weights to a group."""
    file.attrs["layer_names"] = [b"dense"]
    layer = file.create_group("dense")
    layer.attrs["weight_names"] = [b"kernel:0", b"bias:0"]
    layer["bias:0"] = np.zeros(2, np.float32)
    kernel(layer)
    return layer


def fine(file, tmp_path):
    legacy_group(file, lambda layer: layer.create_dataset("kernel:0", data=np.ones((3, 2), "<f4")))


def compressed(file, tmp_path):
    legacy_group(
        file,
        lambda layer: layer.create_dataset(
            "kernel:0", data=np.ones((3, 2), "<f4"), chunks=(3, 2), compression="gzip"
        ),
    )


def external_values(file, tmp_path):
    (tmp_path / "secret").write_bytes(b"0123456789abcdefghijklmn")
    legacy_group(
        file,
        lambda layer: layer.create_dataset(
            "kernel:0", (3, 2), "<f4", external=[(str(tmp_path / "secret"), 0, 24)]
        ),
    )


def secret_file(tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as secret:
        secret["values"] = np.ones((3, 2), np.float32)
    return str(tmp_path / "secret.h5")


def external_link(file, tmp_path):
    link = h5py.ExternalLink(secret_file(tmp_path), "values")
    legacy_group(file, lambda layer: layer.__setitem__("kernel:0", link))


def external_group(file, tmp_path):
    file["layers"] = h5py.ExternalLink(secret_file(tmp_path), "/")


def soft_link(file, tmp_path):
    legacy_group(file, lambda layer: layer.__setitem__("kernel:0", h5py.SoftLink("/dense/bias:0")))


def virtual_values(file, tmp_path):
    layout = h5py.VirtualLayout((3, 2), "<f4")
    layout[:] = h5py.VirtualSource(secret_file(tmp_path), "values", (3, 2))
    legacy_group(file, lambda layer: layer.create_virtual_dataset("kernel:0", layout))


def filled(file, tmp_path):
    legacy_group(
        file,
        lambda layer: layer.create_dataset(
            "kernel:0", (50_000, 20_000), "<f4", fillvalue=1, chunks=(1000, 1000)
        ),
    )


def inflated(file, tmp_path):
    def write(layer):
        array = layer.create_dataset(
            "kernel:0", (20_000, 20_000), "<f4", chunks=(2000, 2000), compression="gzip"
        )
        array[:2000, :2000] = 1.0

    legacy_group(file, write)


def huge_piece(file, tmp_path):
    def write(layer):
        array = layer.create_dataset(
            "kernel:0",
            (3, 2),
            "<f4",
            maxshape=(None, None),
            chunks=(8_000, 8_000),
            compression="gzip",
        )
        array.id.write_direct_chunk((0, 0), zlib.compress(bytes(8_000 * 8_000 * 4), 1))

    legacy_group(file, write)


def repeated(file, tmp_path):
    legacy_group(
        file, lambda layer: layer.create_dataset("kernel:0", data=np.ones((4000, 4000), "<f4"))
    )
    file["dense"].attrs["weight_names"] = [b"kernel:0"] * 1000


def texts(file, tmp_path):
    legacy_group(file, lambda layer: layer.create_dataset("kernel:0", data=[["a"] * 2] * 3))


def long_names(file, tmp_path):
    """Two thousand names that are one string of 2 MB in the file."""
    names = ["x" * (2 << 20), *("kernel:0" for _ in range(2000))]
    fine(file, tmp_path)
    del file["dense"].attrs["weight_names"]
    file["dense"].attrs["weight_names"] = names


def no_names(file, tmp_path):
    fine(file, tmp_path)
    del file["dense"].attrs["weight_names"]
    file["dense"].attrs["weight_names"] = np.ones(3)


ATTACKS = {
    external_values: "has its values in another file",
    external_link: "is a link",
    external_group: "is a link",
    soft_link: "is a link",
    virtual_values: "has its values in another file",
    filled: "has a shape but no values",
    inflated: "does not fit Net",
    huge_piece: "has pieces of 256000000 bytes",
    repeated: "does not fit Net",
    texts: "has no numbers",
    long_names: "names that are too long",
    no_names: "is not a list of names",
}


def test_malicious_files_are_refused_without_allocating_memory(tmp_path):
    paths = []
    for write in (fine, compressed, *ATTACKS):
        paths.append(tmp_path / f"{write.__name__}.h5")
        with h5py.File(paths[-1], "w") as file:
            write(file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE_PROGRAM, *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *lines, megabytes = done.stdout.splitlines()
    ones = np.ones((3, 2)).tolist()
    assert lines[:2] == [f"accepted {ones}"] * 2
    for line, path, words in zip(lines[2:], paths[2:], ATTACKS.values(), strict=True):
        assert line.startswith("weights: ")
        assert str(path) in line
        assert words in line
    assert int(megabytes) < 400


def test_an_archive_that_expands_is_refused_before_it_is_written(tmp_path):
    path = tmp_path / "bomb.keras"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("model.weights.h5", "w", force_zip64=True) as member,
    ):
        for _ in range(1000):
            member.write(bytes(1 << 20))
    assert path.stat().st_size < 2 << 20
    limits = (200 << 20,) * 2
    program = (
        "import resource; from fruits.networks.weights_file import extract_weights;"
        f"from pathlib import Path; resource.setrlimit(resource.RLIMIT_FSIZE, {limits});"
        f"extract_weights(Path({str(path)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "the archive would expand from" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == [path]


# Keras' ImageNet weights

FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"


@pytest.fixture(scope="module")
def published(zoo, tmp_path_factory):
    """The content of a file that replaces Keras' published file."""
    return legacy_weights(zoo.base("MobileNetV2")[0], tmp_path_factory.mktemp("site")).read_bytes()


@pytest.fixture
def keras_home(tmp_path, monkeypatch):
    """An empty folder for Keras' downloads; returns the path of the file in it."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Keras has already read the variable.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    return tmp_path / "models" / FILE


@pytest.fixture
def site(published, monkeypatch):
    """A server for the published file; ``conduct`` selects its behaviour."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_response(404 if self.server.conduct == "missing" else 200)
            self.end_headers()

        def do_GET(self):
            self.server.asked.append(self.path)
            if self.server.conduct == "silent":
                self.server.released.wait(120)
                return
            self.send_response(404 if self.server.conduct == "missing" else 200)
            self.send_header("Content-Length", str(len(published)))
            self.end_headers()
            breaks = self.server.conduct == "breaks"
            self.wfile.write(published[: len(published) // 2] if breaks else published)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.conduct, server.asked, server.released = "whole", [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        lead_to(monkeypatch, f"127.0.0.1:{server.server_port}")
        yield server
        server.released.set()
        server.shutdown()


def lead_to(monkeypatch, host):
    monkeypatch.setattr(download, "KERAS_SITE", f"http://{host}/")
    # Keras itself must not send requests.
    monkeypatch.setattr("keras.src.applications.mobilenet_v2.BASE_WEIGHT_PATH", "http://[wrong]/")


def holds(model, published, tmp_path):
    (tmp_path / "published.h5").write_bytes(published)
    wanted = mobilenet_v2.MobileNetV2(
        weights=None, include_top=False, pooling="avg", input_shape=(224, 224, 3)
    )
    wanted.load_weights(tmp_path / "published.h5")
    pairs = zip(model.get_weights(), wanted.get_weights(), strict=True)
    return all(np.array_equal(found, other) for found, other in pairs)


def failure(model="MobileNetV2"):
    with pytest.raises(BackboneError) as caught:
        keras_model(model, "imagenet")
    message = str(caught.value)
    assert message.isprintable(), "one line"
    for alternative in ("path of a Keras weights file", "EfficientNetLite0", "random"):
        assert alternative in message
    return message


def test_a_download_is_used_and_cached(site, keras_home, published, tmp_path):
    model, sha256 = keras_model("MobileNetV2", "imagenet")
    assert holds(model, published, tmp_path)
    assert sha256 == hashlib.sha256(published).hexdigest()
    assert [path.name for path in keras_home.parent.iterdir()] == [FILE]
    assert keras_home.read_bytes() == published
    # The second time, there is no request.
    assert keras_model("MobileNetV2", "imagenet")[1] == sha256
    assert site.asked == [f"/tensorflow/keras-applications/mobilenet_v2/{FILE}"]


def test_an_interrupted_download_leaves_no_file(site, keras_home, published, tmp_path):
    site.conduct = "breaks"
    assert "download failed" in (message := failure())
    assert "bytes" in message
    assert list(keras_home.parent.iterdir()) == []
    site.conduct = "whole"
    assert holds(keras_model("MobileNetV2", "imagenet")[0], published, tmp_path)


def test_a_file_that_is_missing_on_the_server_is_named(site, keras_home):
    site.conduct = "missing"
    assert f"{FILE}: HTTP Error 404" in failure()


def test_a_server_that_refuses_is_named(keras_home, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        host = f"127.0.0.1:{closed.getsockname()[1]}"
    lead_to(monkeypatch, host)
    message = failure()
    assert host in message
    assert "refused" in message


def test_a_host_that_does_not_resolve_is_named(keras_home, monkeypatch):
    lead_to(monkeypatch, "no-such-host.invalid")
    assert "no-such-host.invalid" in failure()


def test_the_timeout_of_a_silent_server_is_short():
    # There are two requests: one for the header, and one for the file.
    assert 2 * download.DOWNLOAD_TIMEOUT_SECONDS <= 20


def test_a_server_that_never_responds_times_out(keras_home, monkeypatch):
    monkeypatch.setattr(download, "DOWNLOAD_TIMEOUT_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        closing = threading.Timer(120, silent.close)
        closing.start()
        lead_to(monkeypatch, f"127.0.0.1:{silent.getsockname()[1]}")
        assert "no answer within 1 s" in failure()
        # The timeout came before the server closed the connection.
        assert closing.is_alive()
        closing.cancel()


def test_a_server_that_stops_sending_times_out(site, keras_home, monkeypatch):
    monkeypatch.setattr(download, "DOWNLOAD_TIMEOUT_SECONDS", 1)
    site.conduct = "silent"
    assert "timed out" in failure()
    assert list(keras_home.parent.iterdir()) == []


def test_a_download_with_another_digest_is_refused(site, keras_home, monkeypatch):
    file = dataclasses.replace(download.IMAGENET["MobileNetV2"], md5="0" * 32)
    monkeypatch.setitem(download.IMAGENET, "MobileNetV2", file)
    assert "its MD5 is not 000" in failure()
    assert list(keras_home.parent.iterdir()) == []


def test_a_file_with_another_digest_is_downloaded_again(site, keras_home, published, monkeypatch):
    md5 = hashlib.md5(published).hexdigest()
    file = dataclasses.replace(download.IMAGENET["MobileNetV2"], md5=md5)
    monkeypatch.setitem(download.IMAGENET, "MobileNetV2", file)
    keras_home.parent.mkdir()
    keras_home.write_bytes(published[:-1])
    keras_model("MobileNetV2", "imagenet")
    assert keras_home.read_bytes() == published


@pytest.mark.parametrize("name", [name for name in BACKBONES if name != "EfficientNetLite0"])
def test_the_files_are_the_ones_that_keras_downloads(name, monkeypatch):
    asked = []

    def get_file(fname, origin, cache_subdir, file_hash=None):
        asked.append((fname, origin, cache_subdir, file_hash))
        raise InterruptedError

    monkeypatch.setattr(file_utils, "get_file", get_file)
    with pytest.raises(InterruptedError):
        getattr(keras.applications, name)(
            weights="imagenet",
            include_top=False,
            pooling="avg",
            input_shape=(*[BACKBONES[name].input.height] * 2, 3),
        )
    file = download.IMAGENET[name]
    assert asked == [(file.name, file.url, "models", file.md5)]


def test_a_damaged_download_is_named(keras_home, published):
    keras_home.parent.mkdir()
    keras_home.write_bytes(published[: len(published) // 2])
    assert f"{keras_home} does not load (delete it)" in failure()


def test_a_cached_file_is_compiled_without_a_server(published, tmp_path, monkeypatch):
    """In the child process, which gets the folder by Keras' environment variable."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / FILE).write_bytes(published)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("FRUITS_CACHE", str(tmp_path / "graphs"))
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))

    graph = compile_backbone("MobileNetV2", "imagenet")

    assert graph.weights_sha256 == hashlib.sha256(published).hexdigest()
    wanted = mobilenet_v2.MobileNetV2(
        weights="imagenet", include_top=False, pooling="avg", input_shape=(224, 224, 3)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)
    prepared = mobilenet_v2.preprocess_input(pixels.astype(np.float32))
    features = wanted(prepared, training=False).numpy()
    assert difference(load(graph)(pixels), features) < 1e-4


# Random weights


def test_random_weights_are_reproducible(zoo):
    first, digest = weighted(
        "MobileNetV2", lambda _: zoo.build("MobileNetV2"), lambda x: x, "random"
    )
    keras.utils.set_random_seed(99)
    second, again = weighted(
        "MobileNetV2", lambda _: zoo.build("MobileNetV2"), lambda x: x, "random"
    )
    assert digest == again
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Any change of a variable changes the digest.
    second.weights[-1].assign(second.weights[-1].numpy() + 1e-6)
    changed = hashlib.sha256(b"".join(v.numpy().astype("<f4").tobytes() for v in second.weights))
    unchanged = hashlib.sha256(b"".join(v.numpy().astype("<f4").tobytes() for v in first.weights))
    assert unchanged.hexdigest() == digest != changed.hexdigest()
