"""A driver of Apache Spark: a JVM with a Spark Connect endpoint on this machine, which ends with this process."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medallion.engine.jars import SparkSetupError, require_java

if TYPE_CHECKING:
    from collections.abc import Mapping

# Spark takes the level of the gateway's own logger for that of a shell, and says so if it is not the root's.
_LOGGING = """\
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{HH:mm:ss} %p %c{1}: %m%n%ex
"""
_START_SECONDS = 180.0
_PROBE_SECONDS = 5.0
_STOP_SECONDS = 30.0


class SparkDriver:
    """A driver in a JVM of its own; the endpoint is on 127.0.0.1 and wants a token that only this process knows.

    It prevents orphaned drivers: the JVM ends when its pipe to this process closes, which a SIGKILL does too. It also
    prevents two defects of PySpark's own way to start a JVM. That puts every setting on the command line, where any
    user of the machine reads credentials. And it runs Python between fork and exec, where the threads of gRPC, if the
    process has a Connect session, make one start in ten crash.

    Attributes:
        configuration: as it was asked for.
        port: of the endpoint.
    """

    def __init__(self, configuration: Mapping[str, str]) -> None:
        """Start it, which takes some ten seconds.

        Args:
            configuration: of Spark; entries of $SPARK_CONF_DIR/spark-defaults.conf count where it says nothing.

        Raises:
            SparkSetupError: Java is missing or too old, or the driver did not start; what it said is on stderr.
        """
        require_java()
        self.configuration = dict(configuration)
        self._token = secrets.token_urlsafe(24)
        settings = {
            **configuration,
            "spark.connect.authenticate.token": self._token,
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.connect.grpc.binding.port": "0",
        }
        with ExitStack() as unless_started:
            # Nobody else may read such a folder. The JVM has read all of it by the time that it answers.
            with tempfile.TemporaryDirectory(prefix="medallion-spark-") as folder:
                answer = Path(folder) / "gateway"
                self._process = _start(Path(folder), settings, answer)
                unless_started.callback(self.stop)
                gateway_port, secret = self._answer(answer)
            self.port = self._start_context(gateway_port, secret)
            unless_started.pop_all()

    def _answer(self, path: Path) -> tuple[int, str]:
        # The file is complete once it has its name: a port and a text after its length, in Java's order of bytes.
        deadline = time.monotonic() + _START_SECONDS
        while not path.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._not_started()
            time.sleep(0.05)
        written = path.read_bytes()
        return int.from_bytes(written[:4], "big"), written[8:].decode()

    def _start_context(self, gateway_port: int, secret: str) -> int:
        """Start Spark in the JVM and return the port of its Connect endpoint."""
        from py4j.java_gateway import GatewayParameters, JavaGateway
        from py4j.protocol import Py4JError, Py4JJavaError

        # The JVM keeps the objects to its end. Forgotten one by one, a forked child would do that on this connection.
        parameters: Any = GatewayParameters(  # type: ignore[no-untyped-call]
            port=gateway_port, auth_token=secret, auto_convert=True, enable_memory_management=False
        )
        gateway: Any = JavaGateway(gateway_parameters=parameters)  # type: ignore[no-untyped-call]
        spark = gateway.jvm.org.apache.spark
        try:
            spark.api.java.JavaSparkContext(spark.SparkConf())
            service = getattr(spark.sql.connect.service, "SparkConnectService$")
            return int(getattr(service, "MODULE$").localPort())
        except Py4JJavaError as error:
            raise SparkSetupError(f"Spark's driver did not start: {error.java_exception.toString()}") from None
        except (Py4JError, OSError):
            raise self._not_started() from None
        finally:
            gateway.close()

    def _not_started(self) -> SparkSetupError:
        code = self._process.poll()
        ended = f"did not answer within {_START_SECONDS:.0f} s" if code is None else f"ended with exit code {code}"
        return SparkSetupError(
            f"Spark's JVM {ended} as it started; what it said is above. Is there memory for MEDALLION_ENGINE_MEMORY, "
            "and does `java -version` run?"
        )

    @property
    def running(self) -> bool:
        """True until the driver is stopped, has stopped itself, or its JVM has died."""
        if self._process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=_PROBE_SECONDS).close()
        except OSError:
            return False
        return True

    @property
    def url(self) -> str:
        """Address of the endpoint, with its token; PySpark sends tokens without TLS to `localhost` only."""
        return f"sc://localhost:{self.port}/;token={self._token}"

    def stop(self) -> None:
        """Stop the driver and wait for its JVM; a second call does nothing."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _start(folder: Path, settings: Mapping[str, str], answer: Path) -> subprocess.Popen[bytes]:
    """Start PySpark's gateway, a JVM that waits for calls and ends at the end of its input."""
    import pyspark

    home = Path(pyspark.__file__).parent
    properties = folder / "spark.properties"
    # Within a value Java's escapes are JSON's.
    properties.write_text("".join(f"{name}={json.dumps(text)[1:-1]}\n" for name, text in settings.items()))
    environment = {
        **os.environ,
        "SPARK_HOME": str(home),
        "SPARK_CONNECT_MODE": "0",
        "PYSPARK_PIN_THREAD": "false",
        "_PYSPARK_DRIVER_CONN_INFO_PATH": str(answer),
        **_quiet(folder),
    }
    command = [str(home / "bin" / "spark-submit"), "--load-spark-defaults", "--properties-file", str(properties)]
    # Ctrl-C is for this process, which then stops the driver.
    deaf = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    return subprocess.Popen([*deaf, *command, "pyspark-shell"], stdin=subprocess.PIPE, env=environment)


def _quiet(folder: Path) -> dict[str, str]:
    """Variables for a log of errors only, unless this user has a configuration of the log."""
    theirs = os.environ.get("SPARK_CONF_DIR")
    if "LOG4J_CONFIGURATION_FILE" in os.environ or (theirs and (Path(theirs) / "log4j2.properties").exists()):
        return {}
    (folder / "log4j2.properties").write_text(_LOGGING)
    return {"LOG4J_CONFIGURATION_FILE": str(folder / "log4j2.properties")}
