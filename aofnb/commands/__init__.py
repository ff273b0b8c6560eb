"""What each command does and how it is logged: one function and one declaration per command.

A family file holds the commands of one kind of value. Importing this package registers all of them.
"""
