"""The live page: the plots of the HTML report while a run goes on, served to browsers by server-sent events.

The run's process only hands over, once a second, what the second brought (:mod:`.feed`). A process of its own, which
gives way to all others, keeps a bounded history of it (:mod:`.history`), makes pages and changes of pages
(:mod:`.livepage`), and serves them (:mod:`.server`, with what is said of requests in :mod:`.http`). Whoever looks, how
many and how slowly, costs that process, never the run.
"""
