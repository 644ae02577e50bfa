"""The roles of the image on one machine, with other folders instead of its volumes."""

from pathlib import Path

import pytest
from image_roles import environment, start


@pytest.mark.parametrize(
    ("command", "volume"),
    [(["run", "-p", "images", "/data/mine"], "notebooks"), (["master"], "spark-master")],
)
def test_a_volume_that_cannot_be_written_is_one_line(
    tmp_path: Path, command: list[str], volume: str
) -> None:
    (tmp_path / volume).write_text("a file instead of a folder")
    (tmp_path / "secret").write_text("only-of-this-test")
    done = start(command, environment(tmp_path, SPARK_CONF_DIR=str(tmp_path / "spark")))
    assert done.returncode == 2
    line = f"{command[0]}: user 1000 cannot write to {tmp_path / volume}/"
    assert done.stderr.startswith(line)
    assert done.stderr.endswith(": Not a directory; give the volume to user 1000\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("user", "hint"), [(1000, "give the volume to user 1000"), (1234, "leave out --user")]
)
def test_a_volume_of_another_user_is_one_line_that_depends_on_the_user(
    tmp_path: Path, user: int, hint: str
) -> None:
    (tmp_path / "secret").write_text("only-of-this-test")
    others = {"TEST_OTHERS_VOLUME": "yes", "TEST_USER": str(user)}
    variables = environment(tmp_path, SPARK_CONF_DIR=str(tmp_path / "spark"), **others)
    done = start(["master"], variables)
    assert done.returncode == 2
    place = tmp_path / "spark-master/recovery"
    line = f"master: user {user} cannot write to {place}: permission denied; {hint}\n"
    assert done.stderr == line
