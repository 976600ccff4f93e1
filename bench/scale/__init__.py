"""How far the design scales, computed and simulated; `make scale` writes docs/scale.md."""
