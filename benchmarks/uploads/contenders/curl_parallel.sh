#!/usr/bin/env bash
# curl --parallel on parts that were cut beforehand (FILE.parts/), openssl md5 beside it.
# usage: curl_parallel.sh FILE CONNECTIONS [md5]
set -euo pipefail
file=$1 connections=$2
trust=(${SSL_CERT_FILE:+--cacert "$SSL_CERT_FILE"})
key=(-H "Authorization: Bearer $OPENAI_API_KEY")
[ "${3:-}" = "" ] || openssl md5 "$file" >/dev/null &
upload=$(curl -sSf "${trust[@]}" "${key[@]}" -H 'Content-Type: application/json' \
  -d "{\"bytes\":$(stat -c %s "$file"),\"filename\":\"a\",\"mime_type\":\"b\",\"purpose\":\"batch\"}" \
  "$OPENAI_BASE_URL/uploads" | sed -E 's/.*"id": ?"(upload_[^"]+)".*/\1/')
each=()
for part in "$file".parts/*; do
  [ ${#each[@]} = 0 ] || each+=(--next)
  each+=("${trust[@]}" "${key[@]}" -sSf -o /dev/null -F "data=@$part" "$OPENAI_BASE_URL/uploads/$upload/parts")
done
curl --no-progress-meter --parallel --parallel-immediate --parallel-max "$connections" "${each[@]}"
curl -sSf "${trust[@]}" "${key[@]}" -H 'Content-Type: application/json' -d '{"part_ids":["part"]}' -o /dev/null \
  "$OPENAI_BASE_URL/uploads/$upload/complete"
wait
