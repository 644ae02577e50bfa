"""Finds problems of a set of images from the results of a run, with NumPy and Arrow only.

No image is decoded again, and no network runs:

    duplicates(images)                     # images: path, label, split, sha256
    label_suspects(...), outliers(...)     # from predictions
    drift_of_splits(...), drift_of_runs(...)

Each finding is a row of `fruits.quality.findings.SCHEMA`, for all kinds of findings.
"""
