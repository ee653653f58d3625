"""FireWorks over the project's store: the launchpad, the worker, and finding what died."""
