"""The rooms where third-party systems live: one system a room."""
