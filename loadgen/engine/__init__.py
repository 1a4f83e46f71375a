"""The load engine: arrival schedules, virtual devices, one event loop per worker process, the pool of workers."""
