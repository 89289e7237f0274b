#!/bin/sh
# Runs before Airflow's parts, at every start: its database, pools and users. Who is there keeps role and password:
# `airflow users reset-password` changes one.
set -eu
airflow db migrate
cat >/tmp/pools.json <<END
{"faceloop": {"slots": ${PARALLELISM:-4}, "description": "Commands of the platform at once", "include_deferred": false},
 "faceloop_gpu": {"slots": ${GPUS:-1}, "description": "Commands at once that use a GPU", "include_deferred": true}}
END
airflow pools import /tmp/pools.json
user() { # name, role, email, password
    airflow users create --username "$1" --role "$2" --email "$3" --password "$4" --firstname "$1" --lastname faceloop
}
user admin Admin "$AIRFLOW_ADMIN_EMAIL" "$AIRFLOW_ADMIN_PASSWORD"
user robot Op robot@faceloop.example "$AIRFLOW_ROBOT_PASSWORD" # tells Airflow that answers came
