"""Bytes of image files -> pixels: formats, orientation, crop, resize, and limits of size and cost.

:func:`fruits.images.decode.decode` is the entry. Nothing here knows where the bytes come from; the
sources of images are in :mod:`fruits.sources`.
"""
