#!/bin/sh
# Starts a Spark process with the secret that all of them share. A driver takes it from its properties only, and in a
# command line everybody who may list processes could read it.
set -eu
: "${SPARK_SECRET:?}"
umask 077
mkdir -p /tmp/spark-conf
cp /opt/medallion/spark/spark-defaults.conf /tmp/spark-conf/
printf '\nspark.authenticate.secret %s\n' "$SPARK_SECRET" >>/tmp/spark-conf/spark-defaults.conf
unset SPARK_SECRET
export SPARK_CONF_DIR=/tmp/spark-conf
exec "$@"
