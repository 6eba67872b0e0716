"""How gunicorn serves the demo, for WORKERS=4."""

from __future__ import annotations

# A browser opens connections in advance, and a worker without threads would wait on them.
worker_class = "gthread"
threads = 4
loglevel = "warning"
# Nobody commands the demo from elsewhere, and the socket would stay in the home directory. Versions
# that have no such socket pass over the line.
control_socket_disable = True
