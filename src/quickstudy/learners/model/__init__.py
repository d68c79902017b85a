"""Which methods learn a task in activations: a memory, a hidden state, generated or fast weights?"""
