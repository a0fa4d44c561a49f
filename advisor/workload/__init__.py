"""What is one training step? The protocol that a user's step speaks, and how it is found."""
