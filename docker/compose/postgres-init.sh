#!/usr/bin/env bash
# Runs once, when the server's folder is new: a role and a database of its own for each of the three who keep something.
set -euo pipefail
make() { # name, password
    psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres \
        --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" TEMPLATE template0 ENCODING 'UTF8';
REVOKE CONNECT ON DATABASE :"name" FROM PUBLIC;
SQL
}
make faceloop "$FACELOOP_DB_PASSWORD"
make airflow "$AIRFLOW_DB_PASSWORD"
make labelstudio "$LABEL_STUDIO_DB_PASSWORD"
