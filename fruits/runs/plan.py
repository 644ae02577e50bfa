"""What a run from scratch will take, as a value: for people to read, and for JSON."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fruits.runs.capacity import size
from fruits.runs.place import Place
from fruits.runs.probe import Probe


@dataclass(frozen=True)
class Plan:
    """What a run from scratch will take.

    Attributes:
        images: how many there are.
        bytes: of all image files.
        largest: bytes of the largest file.
        probe: what some of the images took.
        place: where the run takes place.
        work: how the images are divided. Where a share of the variance is wanted, ``components``
            is the largest possible number, for which ``seconds`` and ``output`` hold too.
        memory: peak bytes by process, and of all processes on this machine.
        seconds: by stage.
        output: bytes written.
        offers: of EC2 instances: type, vcpus, whether its memory fits, seconds, dollars.
        prices: their date, region and terms.
        refusal: why it cannot be done here; None if it can, or may.
    """

    images: int
    bytes: int
    largest: int
    probe: Probe
    place: Place
    work: dict[str, int]
    memory: dict[str, int]
    seconds: dict[str, float]
    output: dict[str, int]
    offers: list[dict[str, Any]]
    prices: str
    refusal: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """By name, ready for JSON."""
        return asdict(self)

    def text(self) -> str:
        """For people to read."""
        return "\n".join(
            [
                *self._inputs(),
                *_block("memory", self.memory, size),
                *_block("seconds", self.seconds, "{:,.1f}".format),
                *_block("output", self.output, size),
                f"EC2       {self.prices}; a vCPU taken for as fast as a core here",
                *map(_offer_line, self.offers),
                self._verdict(),
            ]
        )

    def _inputs(self) -> Iterator[str]:
        probe, work = self.probe, self.work
        boxes = f"; {probe.boxes:.1f} boxes in each" if probe.boxes != 1 else ""
        yield (
            f"images    {self.images:,}, {size(self.bytes)}: {size(self.bytes / self.images)} each,"
            f" {size(self.largest)} the largest"
        )
        yield (
            f"probed    {probe.images}: {probe.pixels / 1e6:.2f} megapixels each, "
            f"{probe.most_pixels / 1e6:.2f} the largest; {probe.rejected / probe.images:.0%} "
            f"rejected; {1e3 * probe.read:.1f} ms to read, {1e3 * probe.decode:.1f} ms to decode, "
            f"{1e3 * probe.network:.1f} ms in the network{boxes}"
        )
        yield (
            f"work      {work['chunks']} chunks of {work['chunk']:,} images or less, in partitions "
            f"of {work['partition']}, in batches of {work['batch']}; {self.place.cores} tasks at a "
            f"time; {work['components']:,} components at most"
        )

    def _verdict(self) -> str:
        if self.refusal:
            return f"refused   {self.refusal}"
        together, there = self.memory["all on this machine"], self.place.memory
        verdict = "tight" if together > there else "fits"
        return f"{verdict:10}{size(together)} of memory wanted, {size(there)} there"


def _block(name: str, figures: dict[str, Any], unit: Callable[[float], str]) -> list[str]:
    return [name, *(f"  {key:22}{unit(value):>10}" for key, value in figures.items())]


def _offer_line(offer: dict[str, Any]) -> str:
    line = (
        f"  {offer['type']:12}{offer['vcpus']:3} vCPUs {offer['seconds'] / 60:10,.1f} min"
        f"{offer['dollars']:10,.3f} $"
    )
    return line if offer["fits"] else f"{line}  too little memory"
