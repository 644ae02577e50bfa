"""JupyterLab of the image; the token comes from the entrypoint."""

import warnings

from jupyter_server.serverapp import JupyterServerAuthWarning

c = get_config()  # noqa: F821

# Extensions add pages that do not declare who may see them, which gives 50 lines of warnings. None
# is open: allow_unauthenticated_access is False below.
warnings.simplefilter("ignore", JupyterServerAuthWarning)
# LabApp logs where it is installed, regardless of the log level of the server.
c.LabApp.log_level = "WARN"

# Its ports can only be reached from the container's network; Compose publishes them on loopback.
c.ServerApp.ip = "0.0.0.0"
c.ServerApp.port = 8888
c.ServerApp.port_retries = 0
c.ServerApp.open_browser = False
c.ServerApp.root_dir = "/home/fruits"
c.ServerApp.allow_root = False
c.ServerApp.quit_button = False

# Requires the token for all pages, including those that an extension forgot to protect.
c.ServerApp.allow_unauthenticated_access = False
c.ServerApp.disable_check_xsrf = False
# Accepts only the host name "localhost", which prevents DNS rebinding.
c.ServerApp.allow_remote_access = False
# Nobody can set a password on the login page.
c.PasswordIdentityProvider.allow_password_change = False

# Spark's UI, protected by the same token; a tile of the launcher opens it.
c.ServerProxy.servers = {
    "spark": {
        "command": [],
        "port": 4040,
        "timeout": 5,
        "launcher_entry": {"title": "Spark UI", "path_info": "spark/jobs/"},
    }
}
# Only this port is available.
c.ServerProxy.host_allowlist = ["localhost", "127.0.0.1"]
