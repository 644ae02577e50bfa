"""Runs with an S3 store that fails, and the output of a killed run."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import s3fs
from containers import RUN, Compose, results, say, wait_for

HERE = Path(__file__).parent
PROXY = "http://localhost:9000"


@pytest.fixture(scope="module")
def store(compose: Compose, sample: str) -> Compose:
    """The store, which contains the sample."""
    compose.ok("--profile", "s3", "up", "-d", "--no-build", "s3", "bucket")
    compose.fill_store("faults/")
    return compose


@pytest.fixture
def there(store: Compose) -> s3fs.S3FileSystem:
    """The store as a file system for readers."""
    return store.store_files()


def command(output: str, *options: str) -> tuple[str, ...]:
    """The command of a run on the sample in the store."""
    places = ("--images", "s3a://fruits/faults/Training", "--output", f"s3a://fruits/{output}")
    return ("run", *RUN, *places, *options)


class Disturbed:
    """A run in a container that connects to the store through delay.py."""

    def __init__(self, store: Compose, name: str, *proxy: str, options: tuple[str, ...] = ()):
        self.store, self.name = store, f"fruits-test-{name}"
        self.folder = store.data / f"proxy-{name}"
        self.folder.mkdir()
        self.folder.chmod(0o777)
        shutil.copy(HERE / "delay.py", self.folder)
        self.proxy = f"python delay.py 9000 s3 8333 {' '.join(proxy)}"
        self.run = ("fruits", *command(name.partition(".")[0], *options))

    def __call__(self, timeout: float = 500) -> "subprocess.CompletedProcess[str]":
        """Executes the run, and waits for its end."""
        return self.store(
            *(
                "run",
                "--rm",
                "--no-deps",
                "-T",
                "--name",
                self.name,
                "-w",
                f"/data/{self.folder.name}",
            ),
            *("-e", "SPARK_MASTER=local[2]", "-e", f"AWS_ENDPOINT_URL={PROXY}"),
            *("--entrypoint", "roles", "run"),
            *("bash", "-c", f"{self.proxy} & sleep 1; exec {' '.join(self.run)}"),
            timeout=timeout,
        )

    @contextmanager
    def underway(self) -> "Iterator[ThreadPoolExecutor]":
        """Executes the run during the block."""
        with ThreadPoolExecutor(1) as pool:
            self.done = pool.submit(self)
            yield pool

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Waits for a condition that must become true before the end of the run."""
        wait_for(lambda: self.done.done() or happened(), 200, 0.1)
        assert not self.done.done(), self.done.result().stdout[-3000:]

    def faults(self) -> list[str]:
        """The faults of its requests."""
        return [line.split()[0] for line in (self.folder / "faults").read_text().splitlines()]


def read(there: s3fs.S3FileSystem, output: str, table: str, column: str) -> pa.Table:
    rows = pq.read_table(f"fruits/{output}/{table}", filesystem=there)
    return rows.select(["path", "label", column]).sort_by("path").combine_chunks()


def assert_same_bits(there: s3fs.S3FileSystem, output: str, local: Path) -> None:
    """Checks that the results equal those of a run on local files, except for the folder's path."""
    for table, column, undisturbed in zip(
        ("features", "pca"), ("features", "pca"), results(local), strict=True
    ):
        rows = read(there, output, table, column)
        assert rows.drop_columns("path").equals(undisturbed.drop_columns("path"))
        names = [
            [path.split("Training/")[1] for path in t["path"].to_pylist()]
            for t in (rows, undisturbed)
        ]
        assert names[0] == names[1]


def report(there: s3fs.S3FileSystem, output: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(there.cat_file(f"fruits/{output}/run.json"))
    return found


def commits(there: s3fs.S3FileSystem, output: str) -> list[str]:
    """The manifests of the committed chunks."""
    return list(there.glob(f"fruits/{output}/features/_chunks/*.json"))


@pytest.mark.parametrize("seed", [0, 1])
def test_a_store_that_fails_5_percent_of_the_requests_changes_no_bit(
    store: Compose, there: s3fs.S3FileSystem, local: Path, seed: int
) -> None:
    run = Disturbed(store, f"five{seed}", "--faults", "0.05", "--seed", str(seed), "--late", "0")
    done = run()
    assert done.returncode == 0, done.stdout[-3000:]
    assert set(run.faults()) == {"500", "503", "slow", "refused", "lost", "torn"}
    assert len(run.faults()) > 20
    counts = report(there, f"five{seed}")["counts"]
    assert counts["extracted"] == counts["found"] > 200
    assert_same_bits(there, f"five{seed}", local)


def test_a_run_waits_for_a_store_that_is_unavailable_for_20_seconds(
    store: Compose, there: s3fs.S3FileSystem, local: Path
) -> None:
    run = Disturbed(store, "away")
    with run.underway():
        run.wait_until(lambda: commits(there, "away"))
        (run.folder / "away").touch()
        time.sleep(20)
        assert not run.done.done(), run.done.result().stdout[-3000:]
        assert not there.exists("fruits/away/run.json")
        (run.folder / "away").unlink()
    done = run.done.result()
    assert done.returncode == 0, done.stdout[-3000:]
    counts = report(there, "away")["counts"]
    assert counts["extracted"] == counts["found"] > 200
    assert_same_bits(there, "away", local)


def test_a_store_that_stays_away_ends_the_run_with_one_line_and_rejects_nothing(
    store: Compose, there: s3fs.S3FileSystem, local: Path
) -> None:
    run = Disturbed(store, "gone")
    with run.underway():
        run.wait_until(lambda: commits(there, "gone"))
        start = time.monotonic()
        (run.folder / "away").touch()
    done = run.done.result()
    assert time.monotonic() - start < 240
    assert done.returncode == 2, done.stdout[-3000:]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("fruits: ")
    assert "the store cannot be used" in last
    manifests = [json.loads(there.cat_file(name)) for name in commits(there, "gone")]
    assert manifests
    assert not any(manifest["rejected"] for manifest in manifests)
    store.fruits(*command("gone"), master="local[2]")
    counts = report(there, "gone")["counts"]
    assert counts["reused"] >= 40 * len(manifests)
    assert counts["extracted"] + counts["reused"] == counts["found"] > 200
    assert_same_bits(there, "gone", local)


MOMENTS = {
    "before": "^HEAD /fruits/published/run.json",
    "within": "^PUT /fruits/published/pca/",
    "later": "^PUT /fruits/published/model/",
    "after": "^PUT /fruits/published/run.json",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_is_killed_while_it_publishes_leaves_old_or_new_and_the_next_one_completes_it(
    store: Compose, there: s3fs.S3FileSystem, local: Path, moment: str
) -> None:
    if not there.exists("fruits/published/run.json"):
        store.fruits(*command("published"), master="local[2]")
    assert_same_bits(there, "published", local)
    run = Disturbed(
        store,
        f"published.{moment}",
        *("--late", "0", "--hold", f"'{MOMENTS[moment]}'"),
        options=("--components", "12"),
    )
    with run.underway():
        run.wait_until((run.folder / "held").exists)
        assert say("docker", "kill", "--signal", "KILL", run.name).returncode == 0
    assert run.done.result().returncode == 137

    # If there is a run.json, the results that it describes exist and are complete.
    assert there.exists("fruits/published/run.json") == (moment == "before")
    if moment == "before":
        assert report(there, "published")["components"] == 20
        assert_same_bits(there, "published", local)
    if moment == "after":
        rows = read(there, "published", "pca", "pca")
        assert {len(vector) for vector in rows["pca"].to_pylist()} == {12}
        assert rows.num_rows == results(local)[1].num_rows
    # The moments of the model are never missing, so a model that is reused is not lost.
    assert there.exists("fruits/published/model/_basis.moments")

    # In the last case, the model has 12 components already.
    again = () if moment == "after" else ("--model", "s3a://fruits/published")
    store.fruits(*command("published", *again), master="local[2]")
    counts = report(there, "published")["counts"]
    assert (counts["extracted"], counts["reused"]) == (0, counts["found"])
    # This store still lists the folder for a while, although it is not an object.
    left = there.find("fruits/published/_staging", detail=True)
    assert not any(one["size"] for one in left.values())
    assert not there.exists("fruits/published/_lock")
    assert_same_bits(there, "published", local)


CREDENTIALS = {
    "wrong secret": {"AWS_SECRET_ACCESS_KEY": "wrong" * 8},
    "unknown key": {"AWS_ACCESS_KEY_ID": "nobody"},
    "none": {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
}


@pytest.mark.parametrize("place", ["images", "output"])
@pytest.mark.parametrize("case", CREDENTIALS)
def test_credentials_that_are_wrong_or_missing_are_named_with_what_to_do(
    store: Compose, case: str, place: str
) -> None:
    places = {"images": "/data/sample/Training", "output": "/data/refused"}
    places[place] = f"s3a://fruits/{place}"
    done = store(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]"),
        *("-e", "AWS_EC2_METADATA_DISABLED=true", "--entrypoint", "roles", "run", "fruits", "run"),
        *(*RUN, "--images", places["images"], "--output", places["output"]),
        **CREDENTIALS[case],
    )
    assert done.returncode == 2, done.stdout
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"fruits: {places[place]}: the store refuses the credentials")
    assert "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in last


def test_an_output_whose_store_is_out_of_reach_is_reported_in_seconds(store: Compose) -> None:
    start = time.monotonic()
    done = store(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]"),
        *("-e", "AWS_ENDPOINT_URL=http://s3:9", "--entrypoint", "roles", "run", "fruits", "run"),
        *(*RUN, "--images", "/data/sample/Training", "--output", "s3a://fruits/unreachable"),
    )
    assert done.returncode == 2, done.stdout
    assert done.stdout.splitlines()[-1].startswith("fruits: s3a://fruits")
    assert "http://s3:9" in done.stdout.splitlines()[-1]
    assert time.monotonic() - start < 60
