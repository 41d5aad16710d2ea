"""Cats, dogs, and every random start in one JAX program."""
