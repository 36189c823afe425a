"""The parts of a run, in the order in which they come; each is a function of the run (rounds.Bench)."""

from . import batch_sizes, cores, endpoints, filters, loads, memory, points, readers, reads, security, small_puts, starts, transport

PARTS = {
    "reads": reads.measure,
    "loads": loads.measure,
    "points": points.measure,
    "small": small_puts.measure,
    "readers": readers.measure,
    "endpoints": endpoints.measure,
    "memory": memory.measure,
    "starts": starts.measure,
    "transport": transport.measure,
    "sizes": batch_sizes.measure,
    "filters": filters.measure,
    "security": security.measure,
    "cores": cores.measure,
}
