"""Omnicomm Online, simulated: the REST interface that a pipeline reads."""
