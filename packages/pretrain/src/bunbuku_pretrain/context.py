"""Which tokens of a sequence a context parallel rank has."""


def own_stretches(length: int, rank: int, ranks: int) -> tuple[slice, ...]:
    """One stretch from the front and its counterpart from the back, so that causal attention costs all ranks alike.

    Dubey et al. 2024 (arXiv:2407.21783) §3.3.2; the order in which Megatron and Transformer Engine expect them.

    >>> [own_stretches(8, rank, 2) for rank in range(2)]
    [(slice(0, 2, None), slice(6, 8, None)), (slice(2, 4, None), slice(4, 6, None))]
    >>> own_stretches(8, 0, 1)
    (slice(0, 8, None),)
    """
    if ranks == 1:
        return (slice(0, length),)
    size = length // (2 * ranks)
    return tuple(slice(number * size, (number + 1) * size) for number in (rank, 2 * ranks - 1 - rank))
