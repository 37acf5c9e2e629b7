"""Results as tables for people, at most 100 columns wide."""
