"""A classifier from moments, its evaluation, and what it says of an image; NumPy only.

How a run trains one:

    rules = Naming(label, split, group)                    # fruits.sources.naming
    sides, labels = rules.splits(paths), rules.labels(paths)
    # Training images: side "train", or all where no image has a side; those without a label are
    # left out.
    groups = group_images(paths, labels, rules)             # of the training images
    folds = assign_folds(groups.names, labels)              # -1: never held out
    # For each transform: the moments of all, and of each fold; `mapped` comes before them.
    moments = {t: Moments.of(mapped(x, t), labels) for t in TRANSFORMS}
    training = train(moments, [Fold({t: Moments, ...}, read_features, labels), ...])
    training.classifier, training.evaluation, training.trials

A softmax regression in its place, calibrated and evaluated on the same folds:

    fit = SoftmaxRegression(features, table)                # fruits.spark.softmax
    training = train_softmax(moments, folds, fit)

What was said of each image held out, to look at: `training.held_out`, `fruits.classify.review`.

Moments merge in any order, so tasks may measure files, and the driver merge; the moments of a fold
may be left to one task for each file as well. `Fold.features` may give a sample of the fold. Rows
that fit in memory need no exact moments: `fruits.classify.in_memory.folds_in_memory`.

How images are predicted, by Spark tasks and by the predictor alike:

    predictions = classifier.predict(features, classifier.places(labels))
    [classifier.labels[place] for place in predictions.predicted]

How a run predicts a table of images, and evaluates each side of the split (`fruits.classify.rows`):

    predictions, scores = TablePredictor(classifier, means, scored).tables(rows, features)
    evaluate_scores(scores, classifier.labels, training.most_frequent, identical)

Refit without a cross-validation, after images came or went:

    Discriminant.of(moments).classifier(shrinkage, transform, temperature, threshold)
"""
