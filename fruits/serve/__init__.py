"""The application: photographs in, fruit out, through a page and an API. Knows no Spark.

The server never decodes a photograph. Each predictor lives in a process of its own
(:mod:`fruits.serve.worker`), which the server feeds (:mod:`fruits.serve.engine`) and starts again
when a photograph has ended it.
"""
