from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from pyspark.sql import SparkSession

from fruits.errors import ConfigError
from fruits.spark.parquet import read_parquet
from fruits.storage.location import Location

JARS = Path(pyspark.__file__).parent / "jars"
LENIENT = ("spark.sql.files.ignoreCorruptFiles", "spark.sql.files.ignoreMissingFiles")


@pytest.fixture
def lenient(spark: SparkSession) -> Iterator[SparkSession]:
    """A session with the setting to skip files that it cannot read."""
    for name in LENIENT:
        spark.conf.set(name, True)
    yield spark
    for name in LENIENT:
        spark.conf.unset(name)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    folder = tmp_path / "t[a]ble {x,y}*"
    folder.mkdir()
    for number in range(3):
        pq.write_table(pa.table({"n": [number] * 10}), folder / f"{number}.parquet")
    return folder


def test_a_damaged_file_fails_the_query_in_a_lenient_session(
    lenient: SparkSession, table: Path
) -> None:
    assert read_parquet(lenient, Location.of(str(table)), schema="n long").count() == 30
    file = table / "1.parquet"
    file.write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    with pytest.raises(Exception, match=r"1\.parquet"):
        read_parquet(lenient, Location.of(str(table)), schema="n long").agg({"n": "sum"}).collect()


def test_a_missing_file_fails_the_query_in_a_lenient_session(
    lenient: SparkSession, table: Path
) -> None:
    rows = read_parquet(lenient, Location.of(str(table)), schema="n long").agg({"n": "sum"})
    (table / "1.parquet").unlink()
    with pytest.raises(Exception, match=r"1\.parquet"):
        rows.collect()


@pytest.mark.skipif(any(JARS.glob("hadoop-aws-*")), reason="the jars for S3 are installed")
def test_a_spark_without_its_jars_for_s3_is_reported_in_one_line(spark: SparkSession) -> None:
    with pytest.raises(ConfigError, match=r"^spark: wanted its jars for S3, .*conf/jars/pom\.xml"):
        read_parquet(spark, Location.of("s3://orchard/output/pca/0.parquet"))
