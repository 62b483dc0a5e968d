"""What people see while loops and remembered functions run: lines (`messages`), a bar (`progress`).

The room is told what happened and writes it down; it knows nobody who tells it. Whatever is switched off
costs nothing: its owner does not even make the object.
"""
