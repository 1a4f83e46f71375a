"""Reports: what a record says, computed once (:mod:`loadgen.report.summary`) and rendered in several ways."""
