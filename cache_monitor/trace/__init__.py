"""The trace: a sampled record of what happened to cache entries, merged over all processes.

It answers what counts cannot: why a lookup missed where another process or host wrote, how old the
value was that it found, who else computed it at that moment. Plain Python without Django.
"""
