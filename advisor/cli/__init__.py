"""The commands, one file each. The only place that prints, and that joins advisor, trainer and reports."""
