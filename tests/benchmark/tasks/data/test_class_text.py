from __future__ import annotations

import pytest
import torch

from benchmark.tasks.data.class_text import NAMES, TABLE, class_text
from benchmark.tasks.registry import all_tasks


@pytest.mark.parametrize("table", NAMES)
def test_every_name_has_an_embedding_of_length_one(table: str) -> None:
    embeddings = class_text(table)
    assert embeddings.shape == (len(NAMES[table]), 384)
    torch.testing.assert_close(
        embeddings.norm(dim=1), torch.ones(len(embeddings)), atol=1e-3, rtol=0
    )


def test_like_is_near_like() -> None:
    names, embeddings = NAMES["cifar10"], class_text("cifar10")
    similarity = embeddings @ embeddings.t() - 2 * torch.eye(len(names))
    nearest = {name: names[int(row.argmax())] for name, row in zip(names, similarity, strict=True)}
    assert nearest["automobile"] == "truck"
    assert nearest["cat"] == "dog"


def test_a_table_has_a_row_for_every_class_of_its_tasks() -> None:
    tasks = [task for task in all_tasks().values() if task.class_text]
    assert {task.class_text for task in tasks} == set(NAMES)
    for task in tasks:
        assert len(class_text(task.class_text)) == task.num_classes


def test_the_tables_are_small_enough_to_ship() -> None:
    assert TABLE.stat().st_size < 40_000
