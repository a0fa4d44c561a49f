"""A class-conditional diffusion trainer whose progress survives anything.

Every random draw, learning rate and EMA decay is a pure function of (seed, samples seen), so a
restart or another micro-batch x accumulation continues the same run.
"""
