"""Where does the cell that DARTS finds rank among all cells?"""
