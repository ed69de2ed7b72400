"""Folder that Ansible searches for callback plugins; Charon does not import it."""
