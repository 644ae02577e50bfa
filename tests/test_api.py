"""The public interface: the names in ``fruits``, and the modules that importing it loads."""

import subprocess
import sys

import fruits
import fruits.errors

NAMES = {
    "BackboneError",
    "CloudError",
    "ClusterError",
    "ConfigError",
    "FruitsError",
    "InputError",
    "OutputError",
    "Predictor",
    "RunConfig",
    "StorageError",
    "WorkerError",
    "__version__",
    "compare",
    "estimate",
    "open_features",
    "run",
}


def test_the_public_names_are_these() -> None:
    assert set(fruits.__all__) == NAMES
    assert list(fruits.__all__) == sorted(fruits.__all__)
    assert set(dir(fruits)) == NAMES


def test_each_public_name_can_be_imported() -> None:
    for name in NAMES:
        assert getattr(fruits, name)
    assert issubclass(fruits.InputError, fruits.FruitsError)


def test_each_error_that_the_user_can_fix_is_public() -> None:
    errors = {name for name, value in vars(fruits.errors).items() if isinstance(value, type)}
    assert errors <= set(fruits.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(fruits, "nothing")


def test_import_brings_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import fruits\n"
        "new = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["fruits"], done.stderr
