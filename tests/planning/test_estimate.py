import dataclasses

import numpy as np
import pytest
from estimates import CONFIG, PROBE, RESOURCES, predicted

from fruits.errors import ConfigError
from fruits.reduction.fit import choose_components
from fruits.runs.image_map import POINTS


def test_time_grows_with_the_images_and_shrinks_with_the_cores() -> None:
    extract = [predicted(images).seconds["extract"] for images in (1000, 2000, 3000)]
    assert extract[2] - extract[1] == pytest.approx(extract[1] - extract[0], abs=2e-3)
    assert extract[1] - extract[0] == pytest.approx(1000 * (0.01005 / 4 + 20e-6), abs=2e-3)
    twice = dataclasses.replace(RESOURCES, cores=8)
    assert predicted(3000, resources=twice).seconds["extract"] < extract[2]
    assert predicted(1000).seconds["session"] == 3.0
    seconds = predicted(1000).seconds
    assert seconds.pop("total") == pytest.approx(sum(seconds.values()))


def test_only_reads_slower_than_the_network_add_time() -> None:
    usual = predicted(1000).seconds["extract"]
    assert predicted(1000, read=0.009).seconds["extract"] == usual
    assert predicted(1000, read=0.030).seconds["extract"] > usual + 4


def test_memory_is_listed_by_process_and_counts_each_worker() -> None:
    few, many = (predicted(1000, resources=dataclasses.replace(RESOURCES, cores=n)) for n in (1, 9))
    worker = few.memory["each Python worker"]
    assert worker > PROBE.memory
    assert many.memory["all on this machine"] - few.memory["all on this machine"] == 8 * worker
    elsewhere = predicted(1000, resources=dataclasses.replace(RESOURCES, local=False)).memory
    assert elsewhere["all on this machine"] == few.memory["all on this machine"] - worker
    assert predicted(1_000).memory["driver JVM"] < RESOURCES.heap


def test_the_driver_has_the_thumbnails_of_the_map_and_compares_those_of_all_images() -> None:
    images = POINTS + 50_000
    none, small, large = (predicted(images, thumbnail=size) for size in (0, 1000, 3000))
    drivers = [plan.memory["driver Python"] for plan in (none, small, large)]
    assert drivers[1] - drivers[0] == 1000 * POINTS
    assert drivers[2] - drivers[0] == 3000 * POINTS
    assert none.seconds["quality"] < small.seconds["quality"] == large.seconds["quality"]


def test_a_run_without_spark_has_no_jvm_and_starts_sooner() -> None:
    spark, local = (
        predicted(400),
        predicted(400, resources=dataclasses.replace(RESOURCES, heap=None)),
    )
    assert "driver JVM" not in local.memory
    jvm = spark.memory["driver JVM"]
    assert local.memory["all on this machine"] == spark.memory["all on this machine"] - jvm
    for stage in ("extract", "fit", "project"):
        assert local.seconds[stage] < spark.seconds[stage]


@pytest.mark.parametrize("labels", [1000, 30_000])
def test_a_chunk_has_no_more_sums_of_labels_than_images_and_none_of_very_many(labels: int) -> None:
    config = dataclasses.replace(CONFIG, chunk=100)
    output = predicted(30_000, config, labels=labels).output
    products = 11 * 1280 * 1281 // 2
    own = 20 * 1280 * 100 if labels == 1000 else 0
    assert output["features"] == pytest.approx(30_000 * 4000 + 300 * (products + own), rel=0.01)


def test_output_counts_only_images_with_features() -> None:
    output = predicted(48_000, rejected=12).output
    moments = 5 * 11 * 1280 * 1281 // 2  # for each chunk, the products of two features
    assert output["features"] == pytest.approx(36_000 * 4000 + moments, rel=0.01)
    assert output["pca"] == pytest.approx(36_000 * 400, rel=0.05)
    assert output.pop("total") == sum(output.values())
    assert predicted(100, dataclasses.replace(CONFIG, csv=False)).output["pca.csv"] == 0


def test_a_share_of_the_variance_is_estimated_as_all_components() -> None:
    share = dataclasses.replace(CONFIG, components=0.97)
    assert predicted(500, share).work["components"] == 499
    assert predicted(5000, share).work["components"] == 1280


def test_work_is_divided_as_a_run_divides_it() -> None:
    work = predicted(25_000).work
    assert work == {
        "chunk": 10_000,
        "chunks": 3,
        "partition": 512,
        "batch": 2,
        "components": 100,
    }


def test_offers_cost_their_hourly_price_for_at_least_a_minute() -> None:
    plan = predicted(1_000_000)
    cheapest = {offer["type"]: offer for offer in plan.offers}["m7g.xlarge"]
    assert cheapest["dollars"] == pytest.approx(0.1632 * cheapest["seconds"] / 3600, rel=1e-3)
    assert cheapest["seconds"] == plan.seconds["total"]  # four cores, like here
    assert {"m5.xlarge", "c7i.2xlarge"} < {offer["type"] for offer in plan.offers}
    assert min(offer["dollars"] for offer in predicted(10).offers) >= 0.1632 / 60 - 1e-4
    assert "us-east-1, 20" in plan.prices
    assert not any(offer["fits"] for offer in predicted(1000, memory=9 << 30).offers)


def test_a_classifier_adds_seconds_and_bytes_if_there_are_two_labels() -> None:
    none = dataclasses.replace(CONFIG, classifier="none")
    for without in (predicted(6000), predicted(6000, none, labels=12)):
        assert without.seconds["classify"] == without.seconds["predictor"] == 0
        assert not {"predictions", "predictor"} & without.output.keys()
    both = predicted(6000, labels=12)
    assert both.seconds["classify"] > 1
    assert both.output["predictor"] > 6000 * 400 + 2 * 10_000_000
    assert both.output["total"] == sum(both.output.values()) - both.output["total"]
    half = predicted(6000, labels=12, tested=3000)
    assert half.seconds["classify"] < both.seconds["classify"]
    assert half.output["predictor"] < both.output["predictor"]
    softmax = dataclasses.replace(CONFIG, classifier="softmax")
    assert predicted(6000, softmax, labels=12).seconds["classify"] > both.seconds["classify"]


def test_more_components_than_training_images_are_refused_in_the_words_of_the_fit() -> None:
    few = dataclasses.replace(CONFIG, components=61)
    refusal = predicted(100, few, tested=40).refusal
    assert refusal is not None
    with pytest.raises(ConfigError) as fit:
        choose_components(np.full(60, 1 / 60), 61)
    assert refusal == str(fit.value)
    assert "wanted at most 60, the smaller of the numbers of training images and" in refusal
    assert predicted(101, few, tested=40).refusal is None
    assert predicted(100, dataclasses.replace(few, model="out"), tested=40).refusal is None
