import subprocess
import sys

import pytest

from fruits.cli import main
from fruits.cli.commands import make_parser
from fruits.runs.config import RunConfig
from fruits.runs.options import options


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
        (["run", "--images", "a", "--output", "b", "c"], "c: not understood", "fruits run --help"),
        (["cloud", "lunch"], "did you mean launch?", "see fruits cloud --help"),
        (["cloud", "status", "--jsno"], "did you mean --json?", "see fruits cloud status --help"),
    ],
)
def test_a_mistake_is_one_line_with_what_was_meant_and_where_help_is(
    arguments: list[str], meant: str, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = answer(arguments, capsys)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert meant in err
    assert where in err


def test_a_word_like_no_other_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
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
    # Bash itself says what follows "fruits run --sca" and "fruits run --scaler ".
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


def test_a_package_that_is_not_installed_is_one_line_that_names_the_extra() -> None:
    hidden = (
        "import sys; sys.modules['pyspark'] = None; from fruits.cli import main\n"
        "sys.exit(main(['run', '--images', 'nowhere', '--output', 'x']))"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'fruits[spark]'" in done.stderr
