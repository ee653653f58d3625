"""What LOBSTER wrote: the ICOHP list and the quality of its projection."""
