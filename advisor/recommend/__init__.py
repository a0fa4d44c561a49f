"""What should I run? Scaling rules, options with their price, and the choice among them."""
