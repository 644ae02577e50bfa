"""What is wrong with a set of images, from what a run has made of it; NumPy and Arrow only.

No image is decoded again, and no network runs:

    duplicates(images)                     # images: path, label, split, sha256
    label_suspects(...), outliers(...)     # what the classifier has said of them
    drift_of_splits(...), drift_of_runs(...)

Each finding is a row of `fruits.quality.findings.SCHEMA`, the same for all kinds.
"""
