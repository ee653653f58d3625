"""Slurm: batch scripts, a submission budget that survives crashes, slots in an allocation, and what became of jobs."""
