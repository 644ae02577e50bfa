import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession

from fruits.cli import main
from fruits.errors import ConfigError, InputError, OutputError
from fruits.networks.graph import CompiledGraph, InputSpec
from fruits.runs import pipeline
from fruits.runs.capacity import Place, disk_there, memory_there, refusal, this_place
from fruits.runs.config import RunConfig
from fruits.runs.estimate import Plan, Probe, predict, probe
from fruits.sources.folder import list_images
from fruits.sources.listing import LISTING

CONFIG = RunConfig(images="in", output="out", components=100)
PLACE = Place(cores=4, local=True, heap=3 << 30, memory=16 << 30)
PROBE = Probe(
    images=48,
    rejected=0,
    read=0.001,
    decode=0.002,
    network=0.008,
    load=1.0,
    memory=150_000_000,
    row=4000,
    pixels=10_000,
    most_pixels=20_000,
)


def graph_of(dimension: int = 1280, size: int = 10_000_000) -> CompiledGraph:
    return CompiledGraph(
        "Net", "", "openvino", "f32", InputSpec(), dimension, {"graph.bin": bytes(size)}
    )


def predicted(images: int, config: RunConfig = CONFIG, place: Place = PLACE, **probe: int) -> Plan:
    columns = {
        "path": [f"file:/{n}.jpg" for n in range(images)],
        "label": [""] * images,
        "split": [None] * images,
        "length": [5000] * images,
        "modified": [0] * images,
    }
    listing = pa.table(columns, LISTING)
    seconds = {"list": 1.0, "compile": 2.0, "session": 3.0}
    probed = dataclasses.replace(PROBE, **probe)
    return predict(config, listing, graph_of(), probed, place, seconds)


def test_time_grows_with_the_images_and_shrinks_with_the_cores() -> None:
    extract = [predicted(images).seconds["extract"] for images in (1000, 2000, 3000)]
    assert extract[2] - extract[1] == pytest.approx(extract[1] - extract[0])
    assert extract[1] - extract[0] == pytest.approx(1000 * 0.0105 / 4)
    twice = dataclasses.replace(PLACE, cores=8)
    assert predicted(3000, place=twice).seconds["extract"] < extract[2]
    assert predicted(1000).seconds["session"] == 3.0
    seconds = predicted(1000).seconds
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))


def test_slow_reads_hold_the_network_up_and_fast_ones_do_not() -> None:
    usual = predicted(1000).seconds["extract"]
    assert predicted(1000, read=0.009).seconds["extract"] == usual
    assert predicted(1000, read=0.030).seconds["extract"] > usual + 4


def test_memory_is_told_by_process_and_counts_each_worker() -> None:
    few, many = (predicted(1000, place=dataclasses.replace(PLACE, cores=n)) for n in (1, 9))
    worker = few.memory["each Python worker"]
    assert worker > PROBE.memory
    assert many.memory["all on this machine"] - few.memory["all on this machine"] == 8 * worker
    elsewhere = predicted(1000, place=dataclasses.replace(PLACE, local=False)).memory
    assert elsewhere["all on this machine"] == few.memory["all on this machine"] - worker
    assert predicted(1_000).memory["driver JVM"] < PLACE.heap


def test_output_is_what_the_good_images_take() -> None:
    output = predicted(48_000, rejected=12).output
    moments = 5 * 11 * 1280 * 1281 // 2  # of each chunk, the products of two features
    assert output["features"] == pytest.approx(36_000 * 4000 + moments, rel=0.01)
    assert output["pca"] == pytest.approx(36_000 * 400, rel=0.05)
    assert output.pop("total") == sum(output.values())
    assert predicted(100, dataclasses.replace(CONFIG, csv=False)).output["pca.csv"] == 0


def test_a_share_of_the_variance_is_reckoned_as_all_components() -> None:
    share = dataclasses.replace(CONFIG, components=0.97)
    assert predicted(500, share).work["components"] == 499
    assert predicted(5000, share).work["components"] == 1280


def test_work_is_cut_as_a_run_cuts_it() -> None:
    work = predicted(25_000).work
    assert work == {
        "chunk": 10_000,
        "chunks": 3,
        "partition": 512,
        "batch": 2,
        "components": 100,
    }


def test_offers_cost_their_price_by_the_hour_and_a_minute_at_least() -> None:
    plan = predicted(1_000_000)
    cheapest = {offer["type"]: offer for offer in plan.offers}["m7g.xlarge"]
    assert cheapest["dollars"] == pytest.approx(0.1632 * cheapest["seconds"] / 3600, rel=1e-3)
    assert cheapest["seconds"] == plan.seconds["total"]  # four cores, as here
    assert {"m5.xlarge", "c7i.2xlarge"} < {offer["type"] for offer in plan.offers}
    assert min(offer["dollars"] for offer in predicted(10).offers) >= 0.1632 / 60 - 1e-4
    assert "us-east-1, 20" in plan.prices
    assert not any(offer["fits"] for offer in predicted(1000, memory=9 << 30).offers)


def test_a_plan_reads_well_and_goes_into_json() -> None:
    plan = predicted(25_000)
    assert json.loads(json.dumps(plan.as_dict()))["images"] == 25_000
    text = plan.text()
    for words in ("25,000, 125.0 MB", "3 chunks of 10,000", "each Python worker", "m7i.xlarge"):
        assert words in text
    assert text.splitlines()[-1].startswith("fits")
    for memory, verdict in ((10**9, "tight"), (9 * 10**8, "refused   memory: 4 tasks")):
        small = predicted(25_000, place=dataclasses.replace(PLACE, memory=memory))
        assert small.text().splitlines()[-1].startswith(verdict)


@pytest.mark.parametrize("memory", [2 << 30, 16 << 30])
@pytest.mark.parametrize("images", [2, 10_000_000])
def test_what_may_fit_is_not_refused(memory: int, images: int) -> None:
    place = dataclasses.replace(PLACE, memory=memory)
    assert refusal(CONFIG, images, graph_of(2048, 100_000_000), place, math.inf) is None


def test_more_workers_than_memory_are_refused_with_the_number_that_fits() -> None:
    place = Place(cores=64, local=True, heap=1 << 30, memory=4 << 30)
    error = refusal(CONFIG, 1000, graph_of(), place, math.inf)
    assert isinstance(error, ConfigError)
    assert "memory: 64 tasks at a time" in str(error)
    assert "run 28 at most (--master local[N])" in str(error)
    assert refusal(CONFIG, 1000, graph_of(), dataclasses.replace(place, cores=28), 1e12) is None
    assert refusal(CONFIG, 20, graph_of(), place, math.inf) is None  # one task for each image
    assert refusal(CONFIG, 1000, graph_of(), dataclasses.replace(place, local=False), 1e12) is None
    tiny = dataclasses.replace(place, memory=300 << 20)
    assert "run it on a larger machine" in str(refusal(CONFIG, 1000, graph_of(), tiny, math.inf))


def test_features_too_many_for_a_pca_here_are_refused_wherever_the_workers_are() -> None:
    place = dataclasses.replace(PLACE, local=False)
    error = refusal(CONFIG, 1000, graph_of(25_088), place, math.inf)
    assert isinstance(error, ConfigError)
    assert "25,088 features of Net" in str(error)
    assert "20.2 GB" in str(error)


def test_an_output_that_the_disk_cannot_hold_is_refused() -> None:
    error = refusal(CONFIG, 1_000_000, graph_of(), PLACE, 1e9)
    assert isinstance(error, OutputError)
    assert "out can take 1.0 GB" in str(error)
    assert refusal(CONFIG, 1_000_000, graph_of(), PLACE, 6e9) is None


def test_earlier_results_make_room_for_new_ones(tmp_path: Path) -> None:
    free = disk_there(str(tmp_path / "not" / "yet"))
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "part").write_bytes(bytes(9 << 20))
    (tmp_path / "something else").write_bytes(bytes(64 << 20))
    assert abs(disk_there(str(tmp_path)) - shutil.disk_usage(tmp_path).free - (9 << 20)) < 9 << 20
    assert 0 < free < math.inf
    assert disk_there("s3://bucket/out") == math.inf


def test_a_run_that_cannot_fit_ends_before_it_touches_earlier_results(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "run.json").write_text("{}")
    (tmp_path / "out" / "_fruits.json").write_text('{"made": ["run.json"]}')
    place = dataclasses.replace(this_place(spark), memory=500 << 20)
    assert place.local
    monkeypatch.setattr(pipeline, "this_place", lambda spark: place)
    arguments = ["--images", str(draw({"Fig": 9})), "--output", str(tmp_path / "out")]
    assert main(["run", *arguments, "--backbone", graph.backbone, "--overwrite"]) == 2
    assert "fruits: memory: 2 tasks at a time" in capsys.readouterr().err
    names = sorted(entry.name for entry in (tmp_path / "out").iterdir())
    assert names == ["_fruits.json", "run.json"]


def test_a_probe_measures_some_images_and_counts_the_bad_ones(
    graph: CompiledGraph, draw: Callable[..., Path]
) -> None:
    root = draw({"Fig": 20, "Plum": 20})
    for number in range(4):
        (root / "Fig" / f"{number}_100.jpg").write_bytes(b"no picture")
    (root / "Plum" / "7_100.jpg").unlink()
    listing = list_images(str(root))
    (root / "Plum" / "8_100.jpg").unlink()
    probed = probe(listing, graph)
    assert (probed.images, probed.rejected) == (39, 5)
    assert (probed.pixels, probed.most_pixels) == (10_000, 10_000)
    assert 0 < probed.read < probed.read + probed.decode + probed.network < 5
    assert 20_000_000 < probed.memory < 1_000_000_000
    assert 0.3 * 4 * graph.dimension < probed.row < 1.1 * 4 * graph.dimension + 100


def test_an_image_that_crashes_a_probe_ends_the_plan_with_one_line(
    graph: CompiledGraph,
    draw: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = list_images(str(draw({"Fig": 5})))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import os, fruits.networks.runtime as engines\nengines.decode = lambda *_: os._exit(139)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with pytest.raises(InputError, match="one of the 6 that were tried crashes"):
        probe(listing, graph)


def test_the_command_prints_json_alone_to_stdout(
    spark: SparkSession,
    graph: CompiledGraph,
    draw: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--images", str(draw({"Fig": 9})), "--backbone", graph.backbone]
    assert main(["plan", *arguments, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["images"] == 9
    assert planned["refusal"] is None
    assert planned["place"]["cores"] == 2
    assert planned["place"]["heap"] == 3 << 30


class TestMemoryThere:
    TOTAL, SWAP = 8 << 30, 1 << 30

    @pytest.fixture
    def put(self, tmp_path: Path) -> Callable[[str, str], None]:
        def put(name: str, text: str) -> None:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

        put("meminfo", f"MemTotal: {self.TOTAL >> 10} kB\nSwapTotal: {self.SWAP >> 10} kB\n")
        put("self/cgroup", "0::/\n")
        return put

    def memory(self, tmp_path: Path) -> int:
        return memory_there(tmp_path, tmp_path / "cgroup")

    def test_is_all_where_nothing_limits_it(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        assert self.memory(tmp_path) == self.TOTAL + self.SWAP
        put("cgroup/memory.max", "max\n")
        assert self.memory(tmp_path) == self.TOTAL + self.SWAP

    def test_is_the_least_of_all_groups_above(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        put("self/cgroup", "0::/a/b\n")
        put("cgroup/a/memory.max", f"{2 << 30}\n")
        put("cgroup/a/memory.swap.max", "0\n")
        put("cgroup/a/b/memory.max", f"{3 << 30}\n")
        assert self.memory(tmp_path) == 2 << 30
        put("cgroup/a/memory.swap.max", "max\n")
        assert self.memory(tmp_path) == (2 << 30) + self.SWAP

    def test_is_what_version_1_allows(
        self, put: Callable[[str, str], None], tmp_path: Path
    ) -> None:
        # As in a container, which sees its own group at the root.
        put("self/cgroup", "5:cpu:/docker/x\n4:memory:/docker/x\n")
        put("cgroup/memory/memory.limit_in_bytes", f"{2 << 30}\n")
        assert self.memory(tmp_path) == (2 << 30) + self.SWAP
