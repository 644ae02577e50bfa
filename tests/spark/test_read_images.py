import zipfile
from pathlib import Path

import pyarrow as pa
from pyspark.sql import SparkSession

from fruits.sources.naming import Naming
from fruits.spark.read_images import read_images

COLUMNS = ["label", "split", "content", "length"]


def test_an_archive_gives_the_rows_of_the_folder_in_it(spark: SparkSession, tmp_path: Path) -> None:
    names = ["Training/Fig/1.jpg", "Training/Kiwi/1.jpg", "Test/Fig/2.jpg"]
    with zipfile.ZipFile(tmp_path / "fruits.zip", "w") as archive:
        for name in names:
            path = tmp_path / "folder" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(f"{name}".encode() * 3)
            archive.write(path, name)

    def rows(*places: str) -> list[dict[str, object]]:
        images = [str(tmp_path / place) for place in places]
        table: pa.Table = read_images(spark, images, Naming()).toArrow()
        return table.select(COLUMNS).sort_by("content").to_pylist()  # type: ignore[no-any-return]

    found = rows("folder")
    assert found == rows("fruits.zip") == rows("fruits.zip", "folder")[::2]
    assert [(row["label"], row["split"]) for row in found] == [
        ("Fig", "test"),
        ("Fig", "train"),
        ("Kiwi", "train"),
    ]
