"""Documents of the store: one pydantic model per collection, with schema version, provenance and units."""
