"""Which methods learn a task by an inner loop?"""
