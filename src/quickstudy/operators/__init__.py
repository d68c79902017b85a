"""How does PyTorch become right and fast under vmap? The only home of its private names."""
