"""The page of a run: plain tables and arrays -> one HTML file that needs nothing else.

It imports no Spark. What it is made of is a :class:`~fruits.report.material.Material`, and
:func:`~fruits.report.document.render` makes the page.
"""
