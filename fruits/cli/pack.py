"""The command ``fruits pack``."""

from typing import Any

from fruits.cli.parser import Parser
from fruits.errors import on_one_line
from fruits.sources.packing import FORMATS, SHARD_BYTES


def pack(images: str, output: str, format: str, shard_bytes: int) -> None:
    """``fruits pack``: writes the images of a folder as shards."""
    from tqdm import tqdm

    from fruits.sources.packing import pack
    from fruits.sources.selection import described

    with tqdm(desc="packing", unit=" images", delay=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        packed = pack(images, output, format, shard_bytes, progress)
    kept = packed.shards - packed.written
    line = (
        f"{packed.images:,} images in {packed.shards:,} shards in {output}"
        + (f" ({kept:,} of them were there)" if kept else "")
        + (f"; not packed: {described(packed.passed_over)}" if packed.passed_over else "")
    )
    print(on_one_line(line))


def add_pack(commands: Any, parser: Parser) -> None:
    """Adds the command to those of a parser."""
    packing = parser.add_command(commands, "pack", pack, "pack a folder of images into shards")
    packing.add_argument("--images", required=True, metavar="URI", help="folder of images")
    packing.add_argument("--output", required=True, metavar="URI", help="folder of the shards")
    packing.add_argument("--format", choices=FORMATS, default="tar", help="(default: %(default)s)")
    packing.add_argument(
        "--shard-bytes",
        type=int,
        default=SHARD_BYTES,
        metavar="N",
        help="of a shard, about (default: %(default)s)",
    )
