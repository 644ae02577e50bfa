"""The folds of a grouped cross-validation: their images, and their moments, which are stored.

Training images are assigned to folds, and some of them are scored. The moments of the folds are
kept next to the features, so that only changed images are measured again. Knows no Spark; the tasks
are in :mod:`fruits.tasks.cross_validation`, the classifiers in :mod:`fruits.classify`.
"""
