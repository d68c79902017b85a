"""Which methods embed, then compare?"""
