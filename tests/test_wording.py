from fruits.classify.groups import describe_groups
from fruits.wording import are, counted


def test_a_noun_has_the_number_of_its_things() -> None:
    texts = [f"{counted(number, 'label suspect')} {are(number)}" for number in (0, 1, 2, 1200)]
    assert texts == [
        *("0 label suspects are", "1 label suspect is"),
        *("2 label suspects are", "1,200 label suspects are"),
    ]


def test_one_group_is_no_plural() -> None:
    assert describe_groups(1, {"folder": 1}) == "1 group; 1 label grouped by folder"
