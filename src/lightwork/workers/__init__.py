"""Functions in other processes: a zygote that forks workers, one private socket to each.

The room's law: nothing here has a name in the file system, no queue or lock is shared between workers,
and the parent never blocks while it sends. Pure modules (`framing`, `payload`) turn tasks and results into
bytes; `channel`, `page` and `segments` move them; `zygote` and `worker` are the programs at the other end;
`pool` owns every process of this one. Loops are made in `parallel`, which this room does not know.
"""
