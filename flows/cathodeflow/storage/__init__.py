"""Where documents live: the embedded store, connections, collections, indexes and blobs."""
