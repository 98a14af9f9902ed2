"""The schema of records: its version, the migrations of older ones, and the models' common base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

SCHEMA_VERSION = 1

MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From schema version n to n + 1; applied in turn when an older record is read."""


def migrated(data: object) -> dict[str, Any]:
    """The data of a record of any known version, as the present version has them.

    Raises:
        ValueError: one line saying why these are not the data of a record.
    """
    if not isinstance(data, dict) or not isinstance(data.get("schema_version"), int):
        raise ValueError("not a record: it has no schema_version")
    if data["schema_version"] > SCHEMA_VERSION:
        raise ValueError(
            f"schema_version {data['schema_version']} is newer than this program's "
            f"{SCHEMA_VERSION}; update dfkd-bench"
        )
    while data["schema_version"] < SCHEMA_VERSION:
        migrate = MIGRATIONS.get(data["schema_version"])
        if migrate is None:
            raise ValueError(f"schema_version {data['schema_version']} is unknown")
        data = migrate(data)
    return data


class Strict(BaseModel):
    """A model that forbids unknown fields, changes, NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OmitsDefaults(Strict):
    """A model whose fields of later versions are written only if they differ from their default.

    So identities and files are what they were before there were such fields.
    """

    later: ClassVar[frozenset[str]]
    """The fields that later versions added."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = write(self)
        fields = type(self).model_fields
        unset = {name for name in self.later if getattr(self, name) == fields[name].default}
        return {name: value for name, value in values.items() if name not in unset}
