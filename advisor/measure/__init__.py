"""What does a step cost here? Child processes that run it, and what is read off them."""
