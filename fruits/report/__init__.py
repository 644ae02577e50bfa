"""The report of a run: tables and arrays -> one HTML file that needs no network.

It imports no Spark. :func:`~fruits.report.document.render` creates the page from a
:class:`~fruits.report.data.ReportData`.
"""
