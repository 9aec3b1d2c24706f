"""The page that shows a person what is believed of them, and where they change it."""
