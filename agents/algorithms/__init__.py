"""The algorithms: each file is one paper's update, in the order of its box. `Agent` runs any of them."""
