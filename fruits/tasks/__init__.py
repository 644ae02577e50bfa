"""Work on images and features that is divided into tasks, without PySpark.

Tasks run on :class:`fruits.tasks.workers.Workers`: the Python workers of a Spark session
(:mod:`fruits.spark.workers`), or a few processes of this machine (:mod:`fruits.tasks.local`).
"""
