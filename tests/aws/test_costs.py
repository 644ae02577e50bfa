"""The table of costs in docs/aws.md matches its speed and the prices in the package."""

import json
import re

from stacks import ROOT, load

IMAGES = (22_688, 90_000, 10_000_000)
# Name, template, hosts besides the workers, minutes to start, EMR's charge as a share of EC2's.
WAYS = (
    ("single", "ec2-single", 0, 5, 0.0),
    ("cluster", "ec2-cluster", 1, 5, 0.0),
    ("emr", "emr", 1, 10, 0.25),
)


def test_the_table_of_costs_follows_from_speed_and_prices() -> None:
    text = (ROOT / "docs" / "aws.md").read_text()
    speed = float(re.search(r"(\d+) images/s per vCPU", text)[1])  # type: ignore[index]
    wanted = table(speed)
    assert wanted in text, f"docs/aws.md should have this table:\n{wanted}"


def table(speed: float) -> str:
    """The time and the dollars of each architecture, for this number of images/s per vCPU."""
    kind = load("ec2-single")["Parameters"]["InstanceType"]["Default"]
    terms = json.loads((ROOT / "fruits" / "prices.json").read_text())["types"][kind]
    lines = [
        f"| on {kind} | vCPUs of workers | an hour |" + "".join(f" {n:,} images |" for n in IMAGES),
        "|---|---|---|" + "---|" * len(IMAGES),
    ]
    for name, template, more, start, charge in WAYS:
        workers = load(template)["Parameters"].get("Workers", {}).get("Default", 1)
        hourly = (workers + more) * terms["dollars_per_hour"] * (1 + charge)
        cells = []
        for images in IMAGES:
            seconds = 60 * start + images / (speed * workers * terms["vcpus"])
            cells.append(f" {duration(seconds)}, ${seconds / 3600 * hourly:.2f} |")
        vcpus = workers * terms["vcpus"]
        lines.append(f"| `{name}` | {vcpus} | ${hourly:.3f} |" + "".join(cells))
    return "\n".join(lines)


def duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
