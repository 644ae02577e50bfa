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
