"""The estimate of a comparison, computed from the plans of its runs."""

from dataclasses import replace

from estimates import CONFIG, PROBE, predicted

from fruits.comparison.network_plans import ComparisonPlan, NetworkPlan, _seconds


def test_each_further_classifier_adds_its_training_and_predictions() -> None:
    kinds = ("lda", "softmax")
    plans = [predicted(5000, replace(CONFIG, classifier=kind), labels=5) for kind in kinds]
    alone = _seconds(plans[:1])
    assert alone == plans[0].seconds["total"]
    more = plans[1].seconds["classify"] + plans[1].seconds["project"]
    assert _seconds(plans) == alone + more
    assert more < plans[1].seconds["total"]


def test_the_lines_have_the_sum_and_each_network() -> None:
    networks = [
        NetworkPlan("one", 90, 2_000_000, PROBE),
        NetworkPlan("two", 600, 3_500_000, PROBE, refusal="memory: too little"),
    ]
    assert list(ComparisonPlan(networks).lines()) == [
        "plan: 2 networks from scratch: 12 min, 5.5 MB to write",
        "plan: one: 90 s, 2.0 MB",
        "plan: two: 10 min, 3.5 MB; will be refused: memory: too little",
    ]
    assert list(ComparisonPlan().lines()) == []
    failed = ComparisonPlan(failures={"three": "weights: wanted a file"})
    assert list(failed.lines()) == ["plan: three: cannot run: weights: wanted a file"]
    assert ComparisonPlan(networks).probe_of("two") is PROBE
    assert ComparisonPlan(networks).probe_of("three") is None
