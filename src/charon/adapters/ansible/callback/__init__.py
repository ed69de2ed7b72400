"""A folder that Ansible looks for plugins in. Charon imports nothing from it."""
