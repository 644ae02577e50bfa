"""The command ``fruits pack``."""

import signal
from typing import Any

from fruits.cli.parser import Parser
from fruits.cli.progress import image_bar
from fruits.errors import on_one_line
from fruits.sources.packing import SHARD_BYTES
from fruits.sources.shards import FORMATS
from fruits.wording import counted


def pack(images: str, output: str, format: str, shard_bytes: int) -> None:
    """``fruits pack``: writes the images of a folder as shards."""
    from fruits.sources.packing import pack
    from fruits.sources.selection import described

    # SIGTERM acts like Ctrl-C: the unfinished shard is deleted.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with image_bar("packing") as progress:
        packed = pack(images, output, format, shard_bytes, progress)
    kept = packed.shards - packed.written
    were = "was" if kept == 1 else "were"
    line = (
        f"{counted(packed.images, 'image')} in {counted(packed.shards, 'shard')} in {output}"
        + (f" ({counted(kept, 'shard')} {were} there already)" if kept else "")
        + (f"; not packed: {described(packed.passed_over)}" if packed.passed_over else "")
    )
    print(on_one_line(line))


def add_pack(commands: Any, parser: Parser) -> None:
    """Adds the command ``pack`` to a parser."""
    packing = parser.add_command(commands, "pack", pack, "pack a folder of images into shards")
    packing.add_argument("--images", required=True, metavar="URI", help="folder of images")
    packing.add_argument("--output", required=True, metavar="URI", help="folder of the shards")
    packing.add_argument(
        "--format",
        choices=FORMATS,
        default="tar",
        help="format of the shards (default: %(default)s)",
    )
    packing.add_argument(
        "--shard-bytes",
        type=int,
        default=SHARD_BYTES,
        metavar="N",
        help="approximate size of a shard (default: %(default)s)",
    )
