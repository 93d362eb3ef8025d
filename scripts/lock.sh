#!/usr/bin/env bash
# Write requirements.lock from pyproject.toml: every package and extra, for every supported Python and platform,
# with the hashes of all its files. The environment is emptied first, so that nothing of this machine's own
# configuration (indexes, mirrors, folders of wheels) can leak into the file.
set -euo pipefail
cd "$(dirname "$0")/.."

uv=${UV:-$(command -v uv || true)}
if [ -z "$uv" ]; then
    echo "lowtide: uv was not found. Install it (pipx install uv), or name it: make lock UV=/path/to/uv" >&2
    exit 1
fi

held=$(mktemp -d)
trap 'rm -rf "$held"' EXIT
# The demo reads data files of scikit-survival and runs none of its code. What that code alone needs stays out:
# for newer Pythons it would have to be compiled.
for unused in ecos osqp numexpr pandas; do
    echo "$unused; python_version < '3'"
done > "$held/unused"
env -i PATH="$PATH" HOME="$held" ${SSL_CERT_FILE:+SSL_CERT_FILE="$SSL_CERT_FILE"} \
    "$uv" pip compile --quiet --no-config --universal --python-version 3.11 --upgrade --all-extras \
    --generate-hashes --no-emit-index-url --no-annotate --no-header --overrides "$held/unused" \
    pyproject.toml --output-file "$held/lock"
{
    echo "# Made by 'make lock' from pyproject.toml; do not edit."
    cat "$held/lock"
} > requirements.lock
