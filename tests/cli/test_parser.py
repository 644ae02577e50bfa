import subprocess
import sys
from pathlib import Path

import pytest

from fruits.cli import main
from fruits.cli.commands import make_parser
from fruits.options import options
from fruits.runs.config import RunConfig


def answer(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = int(stop.code or 0)
    return (status, *capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "meant", "where"),
    [
        (["rnu"], "did you mean run?", "see fruits --help"),
        (["run", "--imags", "x"], "did you mean --images?", "see fruits run --help"),
        (["run", "--images", "a", "--output", "b", "--scalar=none"], "--scaler?", "fruits run "),
        (["run", "--images", "a", "--output", "b", "--backbone", "mobilenetv2"], "NetV2?", "run"),
        (["run", "--images", "a", "--output", "b", "c"], "c: unknown", "fruits run --help"),
        (["cloud", "lunch"], "did you mean launch?", "see fruits cloud --help"),
        (["cloud", "status", "--jsno"], "did you mean --json?", "see fruits cloud status --help"),
    ],
)
def test_a_mistake_is_one_line_with_a_suggestion_and_the_command_for_help(
    arguments: list[str], meant: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answer(arguments, capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert meant in err
    assert where in err


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        ("components", "many", "number"),
        ("max-rejected", "5%", "number"),
        ("limit", "1.5", "whole number"),
    ],
)
def test_a_value_that_is_no_number_is_one_line_in_everyday_words(
    option: str, value: str, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--images", "a", "--output", "b", f"--{option}", value]
    status, _, err = answer(arguments, capsys)
    got = f"argument --{option}: wanted a {wanted}; got '{value}'"
    assert (status, err) == (2, f"fruits run: {got}; see fruits run --help\n")


def test_an_unknown_word_without_similar_ones_gets_no_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, err = answer(["run", "--images", "a", "--output", "b", "--zzz"], capsys)
    assert "did you mean" not in err


@pytest.mark.parametrize(("arguments", "wanted"), [([], "report"), (["cloud"], "terminate")])
def test_a_bare_command_prints_help(
    arguments: list[str], wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answer(arguments, capsys)
    assert (status, err) == (0, "")
    assert wanted in out


def test_options_reach_the_command_as_their_type() -> None:
    typed = [
        *("run", "--images", "in", "--output", "out", "--components", "5", "--limit", "7"),
        *("--max-rejected", "0.5", "--no-csv", "--overwrite"),
    ]
    _, values = make_parser().parse(typed)
    config = RunConfig(**values)
    assert (config.components, config.limit, config.max_rejected) == (5, 7, 0.5)
    assert (config.csv, config.overwrite) == (False, True)
    assert config.backbone == RunConfig(images="in", output="out").backbone


@pytest.mark.parametrize(
    "typed",
    [["--images", "a", "--images", "b"], ["--images", "a", "b"], ["--images", "a,b"]],
)
@pytest.mark.parametrize("command", ["run", "plan", "compare", "predict"])
def test_several_paths_of_images_are_combined(command: str, typed: list[str]) -> None:
    needed = {"compare": ["--backbone", "VGG16"], "predict": ["--model", "m"]}.get(command, [])
    _, values = make_parser().parse([command, *typed, "--output", "out", *needed])
    assert values["images"] == "a,b"


def test_a_name_with_a_comma_is_not_mixed_with_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    one = ["run", "--output", "out", "--images", str(folder)]
    assert make_parser().parse(one)[1]["images"] == str(folder)
    status, _, err = answer([*one, "--images", "c"], capsys)
    assert (status, err.count("\n")) == (2, 1)
    assert "wanted names without a comma, since several are given" in err


def test_values_of_a_comparison_are_combined_and_replace_the_default() -> None:
    typed = ["compare", "--images", "a", "--output", "b", "--backbone", "VGG16", "ResNet50"]
    parser = make_parser()
    for _ in range(2):  # The second call does not contain values of the first one.
        _, values = parser.parse([*typed, "--backbone", "MobileNetV2", "--components", "5"])
        assert values["backbone"] == ["VGG16", "ResNet50", "MobileNetV2"]
        assert (values["components"], values["scaler"]) == ([5], ["minmax"])


def test_the_help_of_run_names_each_option_with_its_default_and_choices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, out, _ = answer(["run", "--help"], capsys)
    assert status == 0
    words = " ".join(out.split())
    for option in options(RunConfig):
        assert option.flag in words
        assert option.help in words
        for choice in option.choices or ():
            assert choice in words


def test_completion_knows_commands_options_and_choices(capsys: pytest.CaptureFixture[str]) -> None:
    status, script, _ = answer(["completion", "bash"], capsys)
    assert status == 0
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    # Bash itself completes "fruits run --sca" and "fruits run --scaler ".
    asked = """
        COMP_WORDS=(fruits run {typed}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _shtab_fruits; echo "${{COMPREPLY[@]}}"
    """
    for typed, wanted in (("--sca", "--scaler"), ("--scaler st", "standard")):
        done = subprocess.run(
            ["bash", "-c", script + asked.format(typed=typed)], text=True, capture_output=True
        )
        assert wanted in done.stdout.split(), done.stderr


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    import fruits

    assert answer(["--version"], capsys)[:2] == (0, f"fruits {fruits.__version__}\n")


def test_an_interruption_is_one_line_and_status_130(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fruits.sample.draw_sample", interrupted)
    status, out, err = answer(["sample", "--output", "x"], capsys)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == "fruits: interrupted"


def test_help_and_bad_usage_import_no_spark_and_no_network_runtime() -> None:
    check = (
        "import sys; from fruits.cli import main\n"
        "try: main({arguments})\n"
        "except SystemExit: pass\n"
        "print(sorted({{'pyspark', 'tensorflow', 'keras', 'openvino', 'boto3', 'pandas', "
        "'matplotlib'}} & sys.modules.keys()), file=sys.stderr)"
    )
    for arguments in (["--help"], ["run", "--help"], ["run", "--images"]):
        done = subprocess.run(
            [sys.executable, "-c", check.format(arguments=arguments)],
            capture_output=True,
            text=True,
        )
        assert done.stderr.splitlines()[-1] == "[]", done.stderr


def test_the_help_names_no_default_of_a_required_option(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = answer(["predict", "--help"], capsys)
    words = " ".join(out.split())
    assert "use the scaler, PCA and classifier of this finished run --allow-removed" in words


@pytest.mark.parametrize("given", ["--label=parent", "--no-exact-decode", "--components=9"])
def test_an_option_of_the_model_is_to_be_left_out_of_a_prediction(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["predict", "--model", "m", "--images", "a", "--output", "b", given]
    status, _, err = answer(arguments, capsys)
    flag = given.partition("=")[0]
    reason = f"{flag} is taken from the model: leave it out; see fruits predict --help"
    assert (status, err) == (2, f"fruits predict: {reason}\n")


def without(module: str, *arguments: str) -> str:
    """The only line of a command in an installation without a module, which has status 2."""
    hidden = (
        f"import sys; sys.modules[{module!r}] = None; from fruits.cli import main\n"
        f"sys.exit(main({list(arguments)!r}))"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_an_installation_without_the_sample_says_where_it_is() -> None:
    assert "the image `fruits`" in without("fruits.sample", "sample", "--output", "x")


def test_a_package_that_is_not_installed_is_one_line_that_names_the_extra() -> None:
    line = without("pyspark", "run", "--images", "nowhere", "--output", "x")
    assert "pip install '.[spark]'" in line
