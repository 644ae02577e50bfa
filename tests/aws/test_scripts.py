"""Checks the text of the scripts: user data rendered by CloudFormation, and those of EMR."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from stacks import ROOT, create, decoded, group_template, instance_script

SHELLCHECK = Path(sys.executable).with_name("shellcheck")


# ---- User data


@pytest.fixture(scope="module")
def user_data(aws: str) -> dict[str, str]:
    single = create("ec2-single", "single", EcrRepository="team/fruits")
    cluster = create("ec2-cluster", "cluster")
    return {
        "single": instance_script(single["InstanceId"]),
        "master": instance_script(cluster["MasterInstanceId"]),
        "worker": decoded(group_template(cluster["WorkerGroup"])["UserData"]),
    }


@pytest.mark.parametrize("machine", ["single", "master", "worker"])
def test_shellcheck_has_nothing_to_say_of_user_data(
    user_data: dict[str, str], machine: str, tmp_path: Path
) -> None:
    script = user_data[machine]
    within = re.findall(r"<<'END'\n(#!/bin/bash\n.*?)^END$", script, re.DOTALL | re.MULTILINE)
    assert within
    for number, text in enumerate([script, *within]):
        file = tmp_path / f"{number}.sh"
        file.write_text(text)
        # /etc/fruits/host, which the script sources, does not exist here.
        command = [SHELLCHECK, "--exclude=SC1091,SC2154", file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("machine", ["single", "master", "worker"])
def test_user_data_is_whole_and_small_enough(user_data: dict[str, str], machine: str) -> None:
    script = user_data[machine]
    assert len(script.encode()) < 16_384
    assert script.startswith("#!/bin/bash\nset -euo pipefail\n")
    # Placeholders that CloudFormation should have replaced.
    assert not re.search(r"\$\{(AWS::|[A-Z]\w*\})", script)
    assert "None" not in script


def test_a_stop_that_aws_refuses_is_tried_again(user_data: dict[str, str]) -> None:
    [unit] = re.findall(r"printf '(.*)' >\S*/fruits-stop\.service", user_data["master"])
    lines = unit.split(r"\n")
    assert {"Restart=on-failure", "RestartSec=60"} <= set(lines)
    assert "set -euo pipefail" in user_data["master"].partition("sbin/fruits-stop <<")[2][:60]


def test_user_data_holds_no_secret_and_opens_no_port_but_on_the_loopback(
    user_data: dict[str, str],
) -> None:
    for script in user_data.values():
        assert "SPARK_SECRET=" not in script
        published = re.findall(r" -p (\S+:\d+)", script)
        assert all(port.startswith("127.0.0.1:") for port in published)
        for run in re.findall(r"docker run (?:[^\n]*\\\n)*[^\n]*", script):
            assert "--cap-drop ALL" in run
            assert "no-new-privileges" in run
            assert "--privileged" not in run
    assert "--ServerApp.ip=127.0.0.1" in user_data["master"]


def test_the_single_host_has_no_secret_which_local_spark_does_not_need(
    user_data: dict[str, str],
) -> None:
    assert "secret" not in user_data["single"]
    assert "secret" in user_data["master"]


# ---- EMR


def test_shellcheck_has_nothing_to_say_of_emrs_scripts() -> None:
    scripts = sorted((ROOT / "deploy" / "emr").glob("*.sh"))
    done = subprocess.run([SHELLCHECK, *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    for script in scripts:
        assert os.access(script, os.X_OK)
