"""What do several methods share? Nothing here is registered."""
