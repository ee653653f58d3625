"""The embedded store: MongoDB's query language over one SQLite file, no server, several processes at once."""
