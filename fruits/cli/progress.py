"""The progress bar of a command that counts images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def image_bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """Shows a bar while the block runs, if that takes longer than half a second.

    Args:
        what: The word before the bar.

    Yields:
        A function to call with the number of finished images and the number of all images.
    """
    from tqdm import tqdm

    with tqdm(desc=what, unit=" images", delay=0.5) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield progress
