"""Input and output in an S3 store: the store of docker-compose.yml, and the jars of the image."""

import json
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from containers import RUN, Compose, say

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def store(compose: Compose, sample: str) -> Compose:
    """The store with a role, the bucket and the sample."""
    certificate = compose.data / "certificate"
    certificate.mkdir()
    made = say(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=s3", "-addext", "subjectAltName=DNS:s3"),
        *("-keyout", str(certificate / "store.key"), "-out", str(certificate / "store.pem")),
    )
    assert made.returncode == 0, made.stdout
    (certificate / "store.key").chmod(0o644)
    compose.ok(
        *("-f", "docker-compose.yml", "-f", str(HERE / "store-with-roles.yml")),
        *("--profile", "s3", "up", "-d", "--no-build", "s3", "bucket"),
        CERTIFICATE=str(certificate),
        ROLES=str(HERE / "roles"),
    )
    compose.fill_store()
    return compose


def test_the_jars_read_write_list_commit_and_assume_a_role(store: Compose) -> None:
    (store.data / "s3a.py").write_text((HERE / "s3a.py").read_text())
    output = store.ok(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]", "--entrypoint", "roles"),
        *("-e", f"JAVA_TOOL_OPTIONS={TRUSTED}"),
        *("run", "bash", "-c", f"{TRUST} && python /data/s3a.py"),
    )
    found = json.loads(output.strip().splitlines()[-1])
    assert found == {
        "read": "a few bytes",
        "listed": 3,
        "multipart": True,
        "rows": 1000,
        "committer": "magic",
        "left": [False, True, False],
        "role": "by a role",
        "provider": "AssumedRoleCredentialProvider",
    }
    # This ETag shows that the upload had several parts.
    etag = store.store().head_object(Bucket="fruits", Key="probe/large")["ETag"].strip('"')
    assert etag.endswith("-3")


def test_the_notebook_runs_on_the_cluster_from_s3_to_s3(
    store: Compose, cluster: Compose, local: Path
) -> None:
    output = store.ok(
        *("run", "--rm", "--no-deps", "-T", "run"),
        *("-p", "images", "s3a://fruits/Training", "-p", "output", "s3://fruits/out"),
        *("-p", "backbone", "EfficientNetLite0", "-p", "components", "20"),
    )
    executed = output.split("the executed notebook is ")[1].split()[0]
    assert executed.startswith("/home/fruits/notebooks/runs/")
    kept = store.ok(
        *("run", "--rm", "--no-deps", "-T", "--entrypoint", "cat", "run", executed),
    )
    assert "s3a://fruits/Training" in kept
    for secret in (store.secret, store.secret_key, store.token):
        assert secret not in kept
    there = store.store_files()
    names = {name.removeprefix("fruits/out/") for name in there.ls("fruits/out", detail=False)}
    assert {"features", "pca", "pca.csv", "model", "plots", "rejected", "run.json"} <= names
    report = json.loads(there.cat_file("fruits/out/run.json"))
    assert report["spark"]["master"] == "spark://master:7077"
    assert report["counts"]["extracted"] == report["counts"]["found"] > 200
    assert there.cat_file("fruits/out/plots/scree.png").startswith(b"\x89PNG")
    assert there.cat_file("fruits/out/pca.csv").count(b"\n") == report["counts"]["found"] + 1
    saved = json.loads(there.cat_file("fruits/out/model/metadata/part-00000.txt"))
    assert saved["class"] == "pyspark.ml.pipeline.PipelineModel"
    # The same pictures in a local folder have the same features.
    ours = pq.read_table("fruits/out/features", filesystem=there).sort_by("path")
    theirs = pq.read_table(local / "features").sort_by("path")
    assert ours["features"].combine_chunks().equals(theirs["features"].combine_chunks())


TRUSTED = "-Djavax.net.ssl.trustStore=/tmp/trusted -Djavax.net.ssl.trustStorePassword=changeit"
TRUST = (
    "keytool -importcert -noprompt -alias store -file /data/certificate/store.pem"
    " -keystore /tmp/trusted -storepass changeit"
)

BAD = {
    "no bucket": ({}, "s3a://nowhere/Training", "s3a://nowhere/Training does not exist"),
    "no folder": ({}, "s3a://fruits/nothing", "s3a://fruits/nothing does not exist"),
    "wrong key": (
        {"AWS_SECRET_ACCESS_KEY": "wrong" * 8},
        "s3a://fruits/Training",
        "s3a://fruits/Training",
    ),
    "refused": ({"AWS_ENDPOINT_URL": "http://s3:9"}, "s3a://fruits/Training", "http://s3:9"),
    "no host": (
        {"AWS_ENDPOINT_URL": "http://nowhere:80"},
        "s3a://fruits/Training",
        "http://nowhere",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_store_that_cannot_be_used_is_one_line_in_seconds(store: Compose, case: str) -> None:
    changes, images, expected = BAD[case]
    start = time.monotonic()
    done = store(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]", "--entrypoint", "roles"),
        *("run", "fruits", "run", *RUN, "--images", images, "--output", "/data/bad"),
        **changes,
    )
    assert done.returncode == 2, done.stdout
    # Besides, there is the name of the stage, which is erased, and what Compose creates.
    lines = done.stdout.replace("list ...", "").splitlines()
    (line,) = [line for line in lines if line.strip() and " Volume " not in line]
    assert line.startswith("fruits: "), done.stdout
    assert expected in line
    assert time.monotonic() - start < 60


def test_a_bucket_that_cannot_be_created_is_one_line(store: Compose) -> None:
    done = store("run", "--rm", "--no-deps", "-T", "bucket", AWS_SECRET_ACCESS_KEY="wrong" * 8)
    assert done.returncode == 2
    assert "bucket: fruits cannot be made" in done.stdout


def test_reading_small_objects_does_not_wait_for_each(store: Compose) -> None:
    (store.data / "delay.py").write_text((HERE / "delay.py").read_text())
    (store.data / "read.py").write_text(
        "import time\n"
        "from fruits.sources.folder import list_folder, read_contents\n"
        "from fruits.sources.naming import Naming\n"
        "files = list_folder('s3a://fruits/Training', Naming()).images.table()\n"
        "paths = list(zip(files['path'].to_pylist(), files['length'].to_pylist()))\n"
        "list(read_contents(paths[:20]))\n"
        "start = time.monotonic()\n"
        "contents = list(read_contents(paths))\n"
        "assert all(isinstance(c, bytes) for c in contents)\n"
        "print(len(contents) / (time.monotonic() - start))\n"
    )
    output = store.ok(
        *("run", "--rm", "--no-deps", "-T", "-e", "SPARK_MASTER=local[2]"),
        *("-e", "AWS_ENDPOINT_URL=http://localhost:9000", "--entrypoint", "roles"),
        *(
            "run",
            "bash",
            "-c",
            "python /data/delay.py 9000 s3 8333 & sleep 2; python /data/read.py",
        ),
    )
    # Sequential requests with a delay of 20 ms would give less than 50 images/s.
    assert float(output.split()[-1]) > 150
