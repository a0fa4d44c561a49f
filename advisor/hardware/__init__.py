"""What machine is this? Devices, what is free on them, and what is wrong with them."""
