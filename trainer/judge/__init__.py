"""Statistics of generated pictures: copies, likeness, classes, use; which checkpoint and guidance to take."""
