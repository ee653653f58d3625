"""What the store takes from mongomock_ng, in one place and untyped: its stubs pass its client off as pymongo's."""

from __future__ import annotations

from typing import Any

import mongomock_ng
from mongomock_ng import aggregate as _aggregate
from mongomock_ng import collection as _collection
from mongomock_ng import database as _database
from mongomock_ng import filtering as _filtering
from mongomock_ng import geospatial as _geospatial
from mongomock_ng import gridfs as _gridfs
from mongomock_ng import helpers as _helpers

EngineClient: Any = mongomock_ng.MongoClient
EngineCollection: Any = _collection.Collection
EngineCursor: Any = _collection.Cursor
EngineDatabase: Any = _database.Database
ConfigurationError: Any = mongomock_ng.ConfigurationError
DuplicateKeyError: Any = mongomock_ng.DuplicateKeyError
OperationFailure: Any = mongomock_ng.OperationFailure
enable_gridfs_integration: Any = _gridfs.enable_gridfs_integration
extract_near_specs: Any = _geospatial.extract_near_specs
filter_applies: Any = _filtering.filter_applies
helpers: Any = _helpers
process_pipeline: Any = _aggregate.process_pipeline
resolve_sort_key: Any = _filtering.resolve_sort_key
