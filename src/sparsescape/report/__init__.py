"""What a person reads of a study: tables, figures, the terminal and the page.

Everything here is made from the plain dictionary in ``results.json`` alone.
"""
