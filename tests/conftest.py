"""Fixtures for all tests."""

from tests.stores import mongo_server, stores

__all__ = ["mongo_server", "stores"]
