"""The table of docs/models.md holds every model, with the parameters that it has."""

import re
from pathlib import Path

import keras
import numpy as np

from tfmri.models.registry import MODELS, build_model

PAGE = Path(__file__).parents[2] / "docs" / "models.md"


def test_the_table_names_every_model_with_its_number_of_parameters():
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([\d,]+)(?: at 96³)? \|", PAGE.read_text(), re.MULTILINE)
    table = {name: int(number.replace(",", "")) for name, number in rows}
    assert list(table) and set(table) == set(MODELS)
    for name, number in table.items():
        with keras.StatelessScope(initialize_variables=False):  # shapes without numbers, which take seconds to draw
            model = build_model(name, (96, 96, 96, 1), 2)
        assert sum(int(np.prod(each.shape)) for each in model.trainable_variables) == number, name
