"""Every kind of document survives the store: BSON and back gives the same record, and a foreign field is refused."""

from __future__ import annotations

import importlib
import pkgutil
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import bson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

import cathodeflow.records
from cathodeflow.records.document import Document
from cathodeflow.records.host import HostLevelSpec, HostSpec
from cathodeflow.storage.connection import Project, create_project


def all_documents() -> list[type[Document]]:
    for module in pkgutil.iter_modules(cathodeflow.records.__path__):
        importlib.import_module(f"cathodeflow.records.{module.name}")
    return sorted(Document.__subclasses__(), key=lambda kind: kind.__name__)


KINDS = all_documents()

KEYS = st.text("abcXYZ019_-:", min_size=1, max_size=6)
NUMBERS = st.floats(allow_nan=False)
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | NUMBERS | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=2),
    max_leaves=4,
)

PLAIN: Mapping[Any, st.SearchStrategy[Any]] = {
    str: st.text(max_size=8),
    int: st.integers(-(2**63), 2**63 - 1),
    float: NUMBERS,
    bool: st.booleans(),
    datetime: MOMENTS,
    NoneType: st.none(),
    Any: ANYTHING,
}


def values_of(annotation: Any) -> st.SearchStrategy[Any]:
    """Values of a field, from its annotation."""
    if annotation in PLAIN:
        return PLAIN[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_of(arguments[0])
    if origin in {Union, UnionType}:
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is list:
        return st.lists(values_of(arguments[0]), max_size=2)
    if origin is dict:
        return st.dictionaries(KEYS, values_of(arguments[1]), max_size=2)
    if issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    return HOSTS if annotation is HostSpec else records(annotation)


def records(kind: type[BaseModel]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({name: values_of(field.annotation) for name, field in kind.model_fields.items()}).map(
        lambda fields: kind(**fields)
    )


HOSTS = st.builds(HostSpec, packaged=KEYS) | st.builds(
    HostSpec,
    name=KEYS,
    working_ion=KEYS,
    formula_units=st.integers(1, 8),
    substituted_element=KEYS,
    levels=st.lists(records(HostLevelSpec), min_size=1, max_size=2),
)

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_all_documents_are_found():
    assert {kind.__name__ for kind in KINDS} >= {"CampaignRecord", "CandidateRecord", "LabelRecord", "VerdictRecord"}


@pytest.mark.parametrize("kind", KINDS)
@FEW
@given(data=st.data())
def test_a_document_comes_back_from_bson_as_it_was(kind: type[Document], data: st.DataObject):
    record = data.draw(records(kind))
    assert kind.from_mongo(bson.decode(bson.encode(record.to_mongo()))) == record


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return create_project(tmp_path_factory.mktemp("documents"))


@pytest.mark.parametrize("kind", KINDS)
@settings(FEW, max_examples=15)
@given(data=st.data())
def test_a_document_comes_back_from_the_store_as_it_was(project: Project, kind: type[Document], data: st.DataObject):
    record = data.draw(records(kind)).model_copy(update={"id": uuid.uuid4().hex})
    assert project.insert_missing("written", [record.to_mongo()]) == 1
    assert project.insert_missing("written", [record.to_mongo()]) == 0
    assert kind.from_mongo(project.get("written", record.id) or {}) == record


@pytest.mark.parametrize("kind", KINDS)
@settings(FEW, max_examples=3)
@given(data=st.data())
def test_a_document_has_a_key_a_version_and_no_foreign_fields(kind: type[Document], data: st.DataObject):
    document = data.draw(records(kind)).to_mongo()
    assert {"_id", "schema_version", "created_at"} <= set(document)
    assert "id" not in document
    with pytest.raises(ValidationError, match="colour"):
        kind.from_mongo(document | {"colour": "red"})
