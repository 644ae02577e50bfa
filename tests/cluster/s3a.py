"""Tests the jars of the image with an S3 store; runs in the image, and prints one line of JSON."""

import json

from fruits.spark.session import get_spark

BUCKET = "s3a://fruits"
spark = get_spark()
jvm = spark.sparkContext._jvm


def path(name):
    return jvm.org.apache.hadoop.fs.Path(f"{BUCKET}/probe/{name}")


def filesystem(**settings):
    conf = jvm.org.apache.hadoop.conf.Configuration(spark.sparkContext._jsc.hadoopConfiguration())
    for name, value in settings.items():
        conf.set("fs.s3a." + name.replace("_", "."), value)
    return jvm.org.apache.hadoop.fs.FileSystem.newInstance(path("small").toUri(), conf)


def write(store, name, content):
    stream = store.create(path(name))
    stream.write(content)
    stream.close()


def read(store, name):
    stream = store.open(path(name))
    content = bytes(jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
    stream.close()
    return content


found = {}
store = filesystem()
write(store, "small", b"a few bytes")
found["read"] = read(store, "small").decode()

for number in range(3):
    write(store, f"many/{number}", b"x")
found["listed"] = len(store.listStatus(path("many")))

large = bytes(range(256)) * 50_000
write(filesystem(multipart_size="5M", multipart_threshold="5M"), "large", large)
found["multipart"] = read(store, "large") == large

spark.range(1000).write.mode("overwrite").parquet(f"{BUCKET}/probe/table")
found["rows"] = spark.read.parquet("s3://fruits/probe/table").count()
found["committer"] = json.loads(read(store, "table/_SUCCESS"))["committer"]

store.rename(path("small"), path("renamed"))
store.delete(path("many"), True)
found["left"] = [store.exists(path(n)) for n in ("small", "renamed", "many/0")]

role = filesystem(
    aws_credentials_provider="org.apache.hadoop.fs.s3a.auth.AssumedRoleCredentialProvider",
    assumed_role_arn="arn:aws:iam::role/fruits",
    assumed_role_sts_endpoint="s3",
    assumed_role_sts_endpoint_region="us-east-1",
    assumed_role_credentials_provider=(
        "software.amazon.awssdk.auth.credentials.EnvironmentVariableCredentialsProvider"
    ),
)
write(role, "by-role", b"by a role")
found["role"] = read(role, "by-role").decode()
found["provider"] = role.getConf().get("fs.s3a.aws.credentials.provider").rpartition(".")[2]
print(json.dumps(found))
spark.stop()
