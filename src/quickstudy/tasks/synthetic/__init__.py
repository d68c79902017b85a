"""Which tasks are drawn from a formula?"""
