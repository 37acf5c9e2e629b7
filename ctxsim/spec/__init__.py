"""Descriptions: hardware, models, workloads and scenarios as frozen values, read from files and checked."""
