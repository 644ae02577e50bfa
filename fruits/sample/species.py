"""The species of fruit and their appearance."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """The appearance of a species. Its axis is z, with the stem at +z; colours are 0xRRGGBB."""

    name: str
    base: int  # colour at the blossom end
    top: int  # colour at the stem end
    radii: tuple[float, ...] = (1.0, 1.0)  # at even polar angles, from the stem to the blossom end
    scale: tuple[float, float, float] = (1.0, 1.0, 1.0)
    bend: float = 0.0
    dimple: tuple[float, float] = (0.0, 0.0)  # depth at the stem, at the blossom end; < 0: a bump
    ribs: tuple[int, float, float] = (0, 0.0, 1.0)  # count, depth, sharpness of the grooves
    lumps: float = 0.02
    pits: float = 0.0
    marks: tuple[tuple[str, int, float], ...] = ()  # style, colour, share (of stripes: count)
    cells: tuple[str, int, int] = ("", 0, 0)  # berries, seeds, scales or net; how many; colour
    crown: tuple[int, float, int] = (0, 0.0, 0)  # around the stem: colour, size, points (0: a spot)
    tip: float = 0.0  # size of the remains of the flower
    gloss: float = 0.4
    fuzz: float = 0.0
    stem: tuple[int, float, float] = (0, 0.0, 0.0)  # colour, length, thickness
    leaves: int = 1  # if more than one, the stem is a tuft


_APPLE = (0.93, 0.99, 1.05, 1.04, 1.0, 0.96, 0.93, 0.92, 0.9)
_PEAR = (1.62, 1.42, 1.12, 0.98, 0.96, 1.0, 1.03, 1.0, 0.97)
_HEART = (0.8, 0.92, 1.0, 1.0, 0.96, 0.95, 1.0, 1.08, 1.12)
DARK, _WOOD, _LEAF = 0x33261A, 0x4A3018, 0x4A8228
# fmt: off
KINDS = (
    Kind("Apple Red", 0x9A1420, 0x8C0F1C, _APPLE, dimple=(0.5, 0.3), gloss=0.5, tip=0.1,
          marks=(("blush", 0xD9A441, 0.3), ("streaks", 0xC23A32, 0.5), ("specks", 0xE0A070, 0.3)),
          crown=(0x8A7A2A, 0.3, 0), stem=(_WOOD, 0.75, 0.038)),
    Kind("Pear Williams", 0xB9B23C, 0xC2BE48, _PEAR, dimple=(0.04, 0.15), tip=0.12,
          marks=(("blush", 0xC98E3C, 0.3), ("specks", 0x7A6A28, 0.5)), stem=(_WOOD, 0.5, 0.05)),
    Kind("Banana", 0xE4BC2A, 0xDCBE36, scale=(0.28, 0.27, 1.0), bend=0.36, ribs=(5, 0.1, 1.0),
          dimple=(-0.12, -0.1), marks=(("specks", 0x6A4A18, 0.3),), crown=(0x9AA03A, 0.3, 0),
          tip=0.16, gloss=0.25, stem=(0x9A963A, 0.3, 0.075)),
    Kind("Orange", 0xE07A10, 0xE68412, lumps=0.015, pits=0.0016, dimple=(0.05, 0.02),
          crown=(0x7A8A3A, 0.09, 5), gloss=0.45),
    Kind("Kiwi", 0x7A6034, 0x826638, scale=(0.84, 0.78, 1.0), pits=0.0018, gloss=0.05, fuzz=0.3,
          marks=(("streaks", 0x5C4826, 0.4), ("specks", 0x4E3A20, 0.5)),
          crown=(0x3A2814, 0.12, 0), tip=0.15),
    Kind("Strawberry", 0xC01018, 0xC8201A, _HEART, (0.86, 0.82, 1.0), lumps=0.05, gloss=0.6,
          cells=("seeds", 170, 0xD8B050), crown=(_LEAF, 0.85, 9), stem=(0x5A9A38, 0.35, 0.04)),
    Kind("Cherry", 0x4A0610, 0x3C040C, scale=(1.04, 0.96, 0.92), dimple=(0.4, 0.08),
          ribs=(1, 0.06, 5.0), gloss=1.0, stem=(0x5A6A28, 1.0, 0.035)),
    Kind("Grape Blue", 0x241838, 0x2C1E44, scale=(0.85, 0.85, 1.1), cells=("berries", 34, 0),
          gloss=0.5, fuzz=0.25, stem=(0x6A7A38, 0.35, 0.05)),
    Kind("Lemon", 0xE8C818, 0xE6CC20, scale=(0.76, 0.76, 0.95), pits=0.0016, gloss=0.45,
          dimple=(-0.12, -0.28), crown=(0x8A9A3A, 0.1, 0)),
    Kind("Watermelon", 0x6A9A4A, 0x6A9A4A, scale=(0.95, 0.95, 1.05),
          marks=(("stripes", 0x163A1C, 11),), crown=(0x8A8A4A, 0.06, 0)),
    Kind("Tomato", 0xC01C0E, 0xC8280E, scale=(1.05, 1.05, 0.84), dimple=(0.25, 0.05), gloss=0.9,
          ribs=(5, 0.04, 1.0), crown=(_LEAF, 0.75, 5), stem=(_LEAF, 0.35, 0.05)),
    Kind("Apple Golden", 0xC9C050, 0xC4BE48, _APPLE, (0.94, 0.94, 1.0), dimple=(0.45, 0.3),
          marks=(("specks", 0x8A7A3A, 0.35),), crown=(0x8A8A30, 0.25, 0), tip=0.1,
          stem=(_WOOD, 0.8, 0.038)),
    Kind("Plum", 0x3A1838, 0x44203E, scale=(0.88, 0.84, 1.0), dimple=(0.12, 0.0), gloss=0.35,
          ribs=(1, 0.06, 6.0), marks=(("blush", 0x7A2A3A, 0.25),), fuzz=0.3,
          stem=(_WOOD, 0.3, 0.04)),
    Kind("Peach", 0xE0A050, 0xE2A858, dimple=(0.3, -0.06), ribs=(1, 0.08, 6.0), gloss=0.1,
          marks=(("blush", 0xA82028, 0.5), ("streaks", 0xC8483A, 0.4)), fuzz=0.4,
          crown=(0x8A6A2A, 0.15, 0)),
    Kind("Raspberry", 0xB8203C, 0xC02844, scale=(0.85, 0.85, 1.0), dimple=(0.3, 0.0), gloss=0.5,
          cells=("berries", 85, 0), crown=(_LEAF, 0.45, 5), stem=(_LEAF, 0.25, 0.05)),
    Kind("Avocado", 0x2E3A1A, 0x3A4A1E, _PEAR, (1.0, 1.0, 0.95), lumps=0.04, pits=0.006,
          marks=(("specks", 0x5A6A2A, 0.5),), stem=(0x6A5A2A, 0.15, 0.09)),
    Kind("Mango", 0xD8A020, 0xA8A030, (0.95, 1.02, 1.0, 0.97, 0.98), (0.82, 0.66, 1.1), 0.12,
          marks=(("blush", 0xB83018, 0.45), ("specks", 0xE8C060, 0.4)), stem=(_WOOD, 0.12, 0.05)),
    Kind("Eggplant", 0x2A1028, 0x2A1230, _PEAR, (0.78, 0.78, 1.15), 0.06, gloss=1.0,
          crown=(0x5A7A30, 0.6, 5), stem=(0x5A7A30, 0.5, 0.12)),
    Kind("Pepper Red", 0xB0100C, 0xB81410, (0.9, 1.1, 1.12, 1.0, 1.0, 1.12, 0.95),
          (0.82, 0.82, 1.05), dimple=(0.35, 0.25), ribs=(4, 0.16, 2.0), lumps=0.04, gloss=1.0,
          crown=(0x4A7A28, 0.2, 5), stem=(0x4A7A28, 0.6, 0.09)),
    Kind("Pineapple", 0xB8842A, 0xA08A30, (1.0, 1.06, 1.0, 1.06, 1.0), (0.62, 0.62, 1.0),
          cells=("scales", 130, 0x5A3A18), lumps=0.01, gloss=0.25, stem=(0x4A7038, 0.85, 0.08),
          leaves=14),
    Kind("Lime", 0x4E7A1E, 0x5A8426, scale=(0.84, 0.84, 0.96), pits=0.0016, gloss=0.5,
          dimple=(-0.06, -0.14), marks=(("blush", 0x9AA63A, 0.25),), crown=(0x8A8A4A, 0.08, 0)),
    Kind("Clementine", 0xE06A08, 0xE47410, scale=(1.05, 1.05, 0.86), pits=0.0016, gloss=0.5,
          dimple=(0.08, 0.1), ribs=(9, 0.012, 1.0), crown=(0x5A7A2A, 0.12, 5)),
    Kind("Apricot", 0xE09A3A, 0xE2A244, scale=(0.96, 0.9, 1.0), dimple=(0.22, 0.0), gloss=0.15,
          ribs=(1, 0.07, 6.0), marks=(("blush", 0xC0442A, 0.3), ("specks", 0xA03A20, 0.4)),
          fuzz=0.25),
    Kind("Cantaloupe", 0xA8A060, 0x9A9A58, lumps=0.03, ribs=(10, 0.03, 1.5), gloss=0.15,
          cells=("net", 230, 0xD8C898), stem=(0x7A7A48, 0.12, 0.06)),
    Kind("Blueberry", 0x2C3458, 0x343E66, scale=(1.0, 1.0, 0.86), dimple=(0.0, 0.3), gloss=0.2,
          marks=(("blush", 0x5A6890, 0.4),), fuzz=0.3, tip=0.1),
    Kind("Pear Abate", 0x9A8A38, 0xA89A3E, _PEAR, (0.76, 0.76, 1.05), 0.05, dimple=(0.0, 0.12),
          marks=(("blush", 0x8A5A28, 0.35), ("specks", 0x6A4A20, 0.7)), lumps=0.03, tip=0.12,
          gloss=0.25, stem=(_WOOD, 0.55, 0.05)),
    Kind("Apple Granny Smith", 0x7AA028, 0x74A026, _APPLE, dimple=(0.5, 0.25), gloss=0.6,
          marks=(("specks", 0xC0D080, 0.5),), crown=(0x7A8A3A, 0.25, 0), tip=0.1,
          stem=(_WOOD, 0.7, 0.038)),
    Kind("Cherry Wax Yellow", 0xE8940C, 0xF0B818, scale=(1.02, 0.97, 0.94), dimple=(0.3, 0.05),
          ribs=(1, 0.05, 5.0), gloss=0.8),
    Kind("Tomato Cherry Orange", 0xD8700A, 0xDE7A0C, scale=(0.78, 0.78, 1.0), lumps=0.01,
          gloss=0.9, crown=(0xA85A10, 0.1, 0), tip=0.05),
    Kind("Tomato Heart", 0xA01810, 0xA8200F, _HEART, (1.0, 0.92, 1.0), dimple=(0.3, 0.0),
          ribs=(7, 0.08, 1.5), lumps=0.06, gloss=0.9, crown=(0x5A7A2A, 0.3, 5)),
    Kind("Banana Lady Finger", 0xDEB030, 0xD2B03A, scale=(0.36, 0.34, 1.0), bend=0.24,
          ribs=(5, 0.06, 1.0), dimple=(-0.1, -0.08), marks=(("specks", 0x4A3010, 0.7),), tip=0.2,
          gloss=0.2, crown=(0x8A8A3A, 0.25, 0), stem=(0x8A8440, 0.2, 0.08)),
    Kind("Grape White", 0xA8AE4A, 0xA0B048, scale=(0.85, 0.85, 1.1), cells=("berries", 30, 0),
          gloss=0.7, fuzz=0.2, stem=(0x7A8A40, 0.35, 0.05)),
    Kind("Apple Braeburn", 0xC8B048, 0xC0B040, _APPLE, (0.95, 0.95, 1.0), dimple=(0.48, 0.3),
          marks=(("blush", 0xB02A22, 0.55), ("streaks", 0xB8382A, 0.7)), gloss=0.5, tip=0.1,
          crown=(0x8A8A30, 0.25, 0), stem=(_WOOD, 0.75, 0.038)),
    Kind("Cucumber", 0x3A6A28, 0x1E4A20, (1.0, 1.06, 1.12, 1.06, 1.0), (0.25, 0.25, 1.0), 0.08,
          pits=0.012, marks=(("stripes", 0x2A5A22, 9), ("specks", 0xA8B880, 0.5)), tip=0.1),
    Kind("Lychee", 0xB03038, 0xB83C3C, scale=(0.95, 0.92, 1.0), cells=("scales", 190, 0x8E2228),
          gloss=0.15, stem=(_WOOD, 0.25, 0.05)),
    Kind("Papaya", 0xD89A2A, 0x9AA03A, _PEAR, (0.8, 0.8, 1.1), lumps=0.04, ribs=(5, 0.03, 1.0),
          marks=(("blush", 0x6A8A38, 0.4), ("specks", 0x6A5A28, 0.4)), stem=(0x6A6A38, 0.1, 0.1)),
    Kind("Passion Fruit", 0x4A2438, 0x542A40, lumps=0.03, pits=0.003, gloss=0.35,
          marks=(("specks", 0x9A7A80, 0.5),), stem=(_WOOD, 0.2, 0.05)),
    Kind("Pumpkin", 0xD07818, 0xCC7A20, scale=(1.1, 1.1, 0.8), dimple=(0.35, 0.2), lumps=0.03,
          ribs=(11, 0.1, 1.5), gloss=0.25, stem=(0x6A6A38, 0.45, 0.11)),
    Kind("Blackberry", 0x1C1420, 0x241828, scale=(0.85, 0.85, 1.0), cells=("berries", 75, 0),
          gloss=0.9, crown=(_LEAF, 0.5, 5), stem=(_LEAF, 0.3, 0.05)),
    Kind("Nectarine", 0xD88A30, 0xD08030, dimple=(0.3, -0.04), ribs=(1, 0.07, 6.0), gloss=0.6,
          marks=(("blush", 0x98141C, 0.6), ("streaks", 0xA82420, 0.5), ("specks", 0xE0B060, 0.3))),
)
# fmt: on
