"""Divides the images of a chunk into tasks."""

import math

# Images of a task: many, so that its start (50 ms of a Python worker) does not matter; but few at
# the end of a chunk, so that no core waits long for the last task.
MOST_IMAGES = 512


FEWEST_IMAGES = 64


def image_ranges(images: int, slots: int, most: int = MOST_IMAGES) -> list[range]:
    """The range of images of each task: long ranges first, shorter ones at the end of a chunk.

    This is the "guided self-scheduling" of Polychronopoulos and Kuck, IEEE Transactions on
    Computers 36 (1987), pp. 1425-1439, with half of its shares, since tasks do not start all at
    the same time.

    Args:
        images: The number of images of the chunk.
        slots: The number of tasks that run at a time.
        most: The maximum number of images of a task.
    """
    found: list[range] = []
    start = 0
    fewest = min(FEWEST_IMAGES, math.ceil(images / slots))
    while start < images:
        share = math.ceil((images - start) / (2 * slots))
        stop = min(images, start + min(max(share, fewest), most))
        found.append(range(start, stop))
        start = stop
    return found
