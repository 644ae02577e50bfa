"""The plan of a run from scratch, for the terminal and for JSON."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from fruits.planning.probe import Probe
from fruits.planning.resources import Resources
from fruits.wording import counted, size


@dataclass(frozen=True)
class Plan:
    """What a run from scratch will take.

    Attributes:
        images: The number of images.
        bytes: The bytes of all image files.
        largest: The bytes of the largest file.
        probe: The measurements on some of the images.
        resources: The cores and the memory that the run has; ``heap`` is None without Spark.
        work: How the images are divided into chunks, partitions and batches. If a share of the
            variance is wanted, ``components`` is the largest possible number; ``seconds`` and
            ``output`` then assume that number.
        memory: The peak bytes by process, and of all processes on this machine.
        seconds: The seconds by stage.
        output: The bytes that are written, by result.
        offers: EC2 instances: type, vcpus, whether the memory is enough, seconds, dollars.
        prices: The date, region and terms of the prices.
        refusal: The reason why the run cannot be done here; None if it can, or may.
        unchanged: The seconds by stage of a run that finds nothing changed since the last one in
            the output; None if there is something to do.
    """

    images: int
    bytes: int
    largest: int
    probe: Probe
    resources: Resources
    work: dict[str, int]
    memory: dict[str, int]
    seconds: dict[str, float]
    output: dict[str, int]
    offers: list[dict[str, Any]]
    prices: str
    refusal: str | None = None
    unchanged: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """The attributes by name, for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Lines for the terminal."""
        return "\n".join(
            [
                *self._unchanged(),
                *self._inputs(),
                *_block("memory", self.memory, size),
                *_block("seconds", self.seconds, "{:,.1f}".format),
                *_block("output", self.output, size),
                f"EC2       {self.prices}; assuming that a vCPU is as fast as a core here",
                *map(_offer_line, self.offers),
                self._verdict(),
            ]
        )

    def _unchanged(self) -> Iterator[str]:
        if self.unchanged:
            yield (
                "unchanged nothing has changed since the last run: another run would end after "
                f"about {self.unchanged['total']:.1f} s and compute nothing. "
                "A run from scratch takes:"
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
            f"work      {counted(work['chunks'], 'chunk')} of {work['chunk']:,} images or less, "
            f"in partitions of {work['partition']}, in batches of {work['batch']}; "
            f"{self.resources.cores} tasks at a time; {work['components']:,} components at most"
        )

    def _verdict(self) -> str:
        if self.refusal:
            return f"refused   {self.refusal}"
        needed, available = self.memory["all on this machine"], self.resources.memory
        verdict = "tight" if needed > available else "fits"
        return f"{verdict:10}{size(needed)} of memory needed, {size(available)} available"


def _block(name: str, figures: dict[str, Any], unit: Callable[[float], str]) -> list[str]:
    return [name, *(f"  {key:22}{unit(value):>10}" for key, value in figures.items())]


def _offer_line(offer: dict[str, Any]) -> str:
    line = (
        f"  {offer['type']:12}{offer['vcpus']:3} vCPUs {offer['seconds'] / 60:10,.1f} min"
        f"{offer['dollars']:10,.3f} $"
    )
    return line if offer["fits"] else f"{line}  too little memory"
