"""The sections of docs/economics.md: each turns models on machines into findings and tables."""
