"""Profiles of chip technologies: YAML files with a unit and a source for every number."""
