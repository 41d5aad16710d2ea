"""The competitors of the benchmark, one file each; `registry` names them."""
