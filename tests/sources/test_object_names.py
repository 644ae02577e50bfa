import pytest

from fruits.sources.object_names import film_of, folder_of


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("r_12_100.jpg", "r"),
        ("12_100.jpg", ""),
        ("r2_12_100.jpg", "r2"),
        ("IMG_20240131.jpg", "IMG"),
        ("apple12_100.jpg", "apple"),
        ("apple12.jpg", "apple"),
        ("été-3.jpg", "été"),
        ("_5.jpg", ""),
        ("apple-red-12.jpg", "apple"),
        ("r_12_100_jpg.rf.3fa9.jpg", "r"),
        ("IMG_2020_12.jpg", "IMG"),
        ("a3f9c2.jpg", ""),
        ("77be.jpg", ""),
        ("d9b2d63d-a233-4123-847a-7090b2c3a3c1.jpg", ""),
    ],
)
def test_a_film_is_the_folder_and_the_leading_letters(name: str, film: str) -> None:
    assert film_of(f"s3a://b/Fig/{name}") == f"s3a://b/Fig/{film}"
    assert film_of(name) == film
    assert folder_of(f"s3a://b/Fig/{name}") == "s3a://b/Fig"
