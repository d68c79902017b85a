"""Do learned auxiliary losses help a task with few rows?"""
