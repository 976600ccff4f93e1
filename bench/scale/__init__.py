"""How far the design reaches, on paper and simulated: `make scale` writes docs/scale.md."""
