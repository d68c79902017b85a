"""Do learned weights of rows withstand wrong labels?"""
