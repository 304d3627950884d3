"""What a person reads of a study: tables, figures, the terminal and the page.

Everything here is made from the plain dictionary in ``results.json`` alone. What all studies share
lies in this folder; what is particular to one (its tables, figures, sections) lies in a folder
named as the study is, which ends in one :class:`~sparsescape.report.study.Study`, listed in
:mod:`~sparsescape.report.catalogue`. A new study is a new folder and a line there.
"""
