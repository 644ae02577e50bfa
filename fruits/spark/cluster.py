"""Checks within seconds whether a standalone cluster accepts this driver or worker.

Spark retries for a minute, prints a Java trace each time, and does not say whether the secret is
wrong or there is no master; a worker retries forever. The command ``python -m fruits.spark.cluster
spark://HOST:PORT`` checks a worker: if it is refused, the status is 2 and the message is one line.
"""

import sys
import time
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark import SparkConf, SparkContext

from fruits.errors import ClusterError

# All processes of Spark authenticate with this user name.
SPARK_USER = "sparkSaslUser"

# How long to wait for a master that is still starting.
START_SECONDS = 20.0

# This logger prints the trace of an error that is also raised.
NOISY = "org.apache.spark.network.client.TransportClientFactory"


def require_cluster() -> None:
    """Checks that the standalone master of the configuration accepts this driver.

    Raises:
        ClusterError: The master refuses the secret, or does not answer.
    """
    SparkContext._ensure_initialized()
    where = SparkConf().get("spark.master") or ""
    if not where.startswith("spark://"):
        return
    deadline = time.monotonic() + START_SECONDS
    while not is_accepted(where):
        if time.monotonic() > deadline:
            raise ClusterError(f"no master answers at {where}; wanted a running cluster: start it")
        time.sleep(1)


def is_accepted(where: str) -> bool:
    """Connects to a master with the secret, as Spark does.

    Args:
        where: The master's address. With several, as in ``spark://one:7077,two:7077``, the first
            one that answers decides.

    Returns:
        False if no master answers. True without a check if no secret is configured.

    Raises:
        ClusterError: The master refuses the secret.
    """
    SparkContext._ensure_initialized()
    conf = SparkConf()
    secret = conf.get("spark.authenticate.secret")
    if not secret:
        return True
    jvm = SparkContext._jvm
    assert jvm is not None
    network, settings = jvm.org.apache.spark.network, jvm.java.util.HashMap()
    for name, value in conf.getAll():
        if name.startswith(("spark.network.", "spark.authenticate", "spark.rpc.")):
            settings.put(name, value)
    transport = network.util.TransportConf("rpc", network.util.MapConfigProvider(settings))
    keys = network.sasl.ShuffleSecretManager()
    keys.registerApp(SPARK_USER, secret)
    handshake = jvm.java.util.ArrayList()
    handshake.add(network.crypto.AuthClientBootstrap(transport, SPARK_USER, keys))
    context = network.TransportContext(transport, network.server.NoOpRpcHandler())
    clients = context.createClientFactory(handshake)
    logging = jvm.org.apache.logging.log4j
    level = logging.LogManager.getLogger(NOISY).getLevel()
    logging.core.config.Configurator.setLevel(NOISY, logging.Level.OFF)
    try:
        for address in where.removeprefix("spark://").split(","):
            master = urlsplit(f"spark://{address}")
            try:
                clients.createClient(master.hostname, master.port or 7077)
                return True
            except Py4JJavaError as error:
                if not is_unreachable(error):
                    raise ClusterError(
                        f"the master at spark://{address} refuses the secret of this container or "
                        "program; wanted the cluster's own one (SPARK_SECRET, or "
                        "spark.authenticate.secret)"
                    ) from None
    finally:
        logging.core.config.Configurator.setLevel(NOISY, level)
        clients.close()
        context.close()
    return False


def is_unreachable(error: Py4JJavaError) -> bool:
    """Whether there was no connection, so the secret was not checked."""
    cause, kinds = error.java_exception, []
    while cause is not None:
        kinds.append(cause.getClass().getName())
        cause = cause.getCause()
    network = ("java.net.", "java.nio.channels.", "io.netty.channel.")
    return any(kind.startswith(network) for kind in kinds)


def main(where: str) -> int:
    """Runs the command and returns its exit status."""
    try:
        is_accepted(where)
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
