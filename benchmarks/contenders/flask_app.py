"""A Flask server with one route, which applies the saved pipeline of a run.

python -m benchmarks.contenders.flask_app OUTPUT PORT
"""

import os
import sys

from flask import Flask, request
from pyspark.ml import PipelineModel
from pyspark.sql import SparkSession

output, port = sys.argv[1:]
# Otherwise, Spark's workers would use the first Python on the PATH.
os.environ["PYSPARK_PYTHON"] = sys.executable
spark = SparkSession.builder.config("spark.ui.enabled", "false").getOrCreate()
model = PipelineModel.load(f"{output}/model")
app = Flask(__name__)


@app.post("/predict")
def predict() -> dict[str, str]:
    """The label of the photograph in the body of the request."""
    frame = spark.createDataFrame([(request.get_data(),)], "content binary")
    (row,) = model.transform(frame).select("predictedLabel").collect()
    return {"label": row[0]}


app.run("127.0.0.1", int(port))
