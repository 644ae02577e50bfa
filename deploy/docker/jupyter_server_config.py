"""JupyterLab of the image; the token comes from the entrypoint."""

import warnings

from jupyter_server.serverapp import JupyterServerAuthWarning

c = get_config()  # noqa: F821

# Extensions add pages that do not declare who may see them, which gives 50 lines of warnings. None
# is open: allow_unauthenticated_access is False below.
warnings.simplefilter("ignore", JupyterServerAuthWarning)
# LabApp logs where it is installed, whatever the server's own level is.
c.LabApp.log_level = "WARN"

# The container's ports are open to its own network only; docker-compose.yml publishes on loopback.
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/fruits"
c.ServerApp.allow_root = False
c.ServerApp.quit_button = False

# Nothing without the token, not even a page that an extension forgot to guard.
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.disable_check_xsrf = False
# Served is only who calls this server "localhost": no page elsewhere can point its name here.
c.ServerApp.allow_remote_access = False
# There is no password to be set from the login page.
c.PasswordIdentityProvider.allow_password_change = False

# Spark's UI, behind the same token; a tile of the launcher opens it.
c.ServerProxy.servers = {
    "spark": {
        "command": [],
        "port": 4040,
        "timeout": 5,
        "launcher_entry": {"title": "Spark UI", "path_info": "spark/jobs/"},
    }
}
# Nothing but that port.
c.ServerProxy.host_allowlist = ["localhost", "127.0.0.1"]
