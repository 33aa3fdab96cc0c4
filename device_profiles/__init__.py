"""Device profiles: one YAML file for each device, every number with its unit and source."""
