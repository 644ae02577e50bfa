"""Trains, evaluates and applies a classifier, on arrays and Arrow tables. It reads no files.

How a run trains a classifier:

    rules = Naming(label, split, group)                    # fruits.sources.naming
    sides, labels = rules.splits(paths), rules.labels(paths)
    # Training images: side "train", or all images if none has a side; images without a label are
    # left out.
    groups = group_images(paths, labels, rules)             # of the training images
    folds = assign_folds(groups.names, labels)              # -1: never held out
    # For each transform: the moments of all images, and of each fold, of transformed features.
    moments = {t: Moments.of(transform_features(x, t), labels) for t in TRANSFORMS}
    training = train(moments, [Fold({t: Moments, ...}, read_features, labels), ...])
    training.classifier, training.evaluation, training.trials

How to train a softmax regression instead, calibrated and evaluated on the same folds:

    fit = SoftmaxRegression(features, table)                # fruits.spark.softmax
    training = train(moments, folds, fit)

`training.held_out` has the prediction of each held-out image, for `fruits.classify.review`.

Moments can be merged in any order, so tasks can measure files and the driver can merge the results.
`Fold.features` may return a sample of the fold. Rows that fit in memory need no exact moments:
`fruits.classify.in_memory.folds_in_memory`.

How Spark tasks and the predictor predict images:

    predictions = classifier.predict(features, classifier.label_indices(labels))
    [classifier.labels[index] for index in predictions.predicted]

How a run predicts a table of images, and evaluates each side of the split (`fruits.classify.rows`):

    predictions, scores = TablePredictor(classifier, means, scored).tables(rows, features)
    batches = scores.sort_by("path").to_batches()
    evaluate_sides(batches, classifier.labels, training.most_frequent, identical)

How to refit without a cross-validation, after images were added or removed:

    Discriminant.of(moments).classifier(shrinkage, transform, temperature, threshold)
"""
