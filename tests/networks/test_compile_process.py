"""Child processes that compile networks end with one line if the machine has too little."""

import sys
from pathlib import Path

import pytest

from fruits.errors import BackboneError
from fruits.networks.compile_process import run_module, write_result


@pytest.mark.parametrize("module", ["fruits.networks.compile", "fruits.networks.compile_detector"])
def test_a_killed_process_is_reported_as_too_little_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -9 $$\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(BackboneError, match=r"memory to compile dinov2; .*was killed.*: use a"):
        run_module(module, "/networks/dinov2", str(tmp_path / "target"))


def test_a_result_that_cannot_be_stored_is_reported_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"cannot be stored in .*nowhere \(.*\): free some"):
        write_result(tmp_path / "nowhere" / "graph", b"")
