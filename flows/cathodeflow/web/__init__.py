"""The dashboard: pages of a project's campaigns and FireWorks' own site, behind one guard."""
