"""What would a training step take on a card that is not here? Traced on a simulated GPU, replayed at any batch."""
