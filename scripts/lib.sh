# shellcheck shell=bash
# What the scripts share: where the project is, how to speak, and how to get a tool that is missing.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec </dev/null
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"

TARGET="${CARGO_TARGET_DIR:-$PWD/target}"

# Tools that a script had to build for itself live with the build, not in the user's home.
TOOLS="$TARGET/tools"
export PATH="$TOOLS/bin:$PATH"

say() { printf '\n== %s\n' "$*" >&2; }
note() { printf '%s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif have sudo; then
    sudo -n "$@" || die "this needs root: $*"
  else
    die "this needs root, and there is no sudo: $*"
  fi
}

apt_install() {
  have apt-get || die "missing, and there is no apt-get to install it with: $*"
  note "installing: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$@" >&2
}

ensure_compiler() {
  have cargo || die "cargo is missing; rustup (https://rustup.rs) brings it, and rust-toolchain.toml names the version"
  have cc || apt_install build-essential
}

# Prints the folder of PostgreSQL's own programs, which Debian keeps off the path.
postgres_bin() {
  local dir
  if have pg_config && dir="$(pg_config --bindir 2>/dev/null)" && [ -x "$dir/initdb" ]; then
    echo "$dir"
    return
  fi
  for dir in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
    if [ -x "$dir/initdb" ]; then
      echo "$dir"
      return
    fi
  done
  if have initdb; then
    dirname "$(readlink -f "$(command -v initdb)")"
    return
  fi
  return 1
}

ensure_postgres() {
  # Debian's package would start a server of its own; ours is a private one.
  postgres_bin >/dev/null && return
  if [ ! -e /etc/postgresql-common/createcluster.conf ] && have apt-get; then
    as_root mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
  fi
  apt_install postgresql
  postgres_bin >/dev/null || die "postgresql is installed, but its initdb was not found"
}

# The journeys paste the printed command as a person would.
ensure_curl() { have curl || apt_install curl; }

# ensure_venv NAME: .venv/NAME holds exactly what tests/clients/python/NAME/requirements.txt says.
ensure_venv() {
  local name="$1"
  local dir=".venv/$name" wanted="tests/clients/python/$1/requirements.txt"
  have python3 || apt_install python3 python3-venv
  if cmp -s "$wanted" "$dir/installed.txt"; then
    return
  fi
  note "installing Python packages into $dir"
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
  rm -rf "$dir"
  python3 -m venv "$dir"
  "$dir/bin/python" -m pip install --quiet --disable-pip-version-check --no-input -r "$wanted"
  cp "$wanted" "$dir/installed.txt"
}

ensure_node_modules() {
  local dir=tests/clients/node
  { have node && have npm; } || die "node 20 and npm are missing"
  [ "$(node -p 'Number(process.versions.node.split(".")[0]) >= 20')" = true ] || die "node is $(node --version); 20 or later is needed"
  if cmp -s "$dir/package-lock.json" "$dir/node_modules/installed.json"; then
    return
  fi
  note "installing npm packages into $dir/node_modules"
  # Install scripts stay off (.npmrc) but for the one that puts Claude Code's program in its place.
  (cd "$dir" && npm ci --loglevel=error >&2 && node node_modules/@anthropic-ai/claude-code/install.cjs >&2)
  cp "$dir/package-lock.json" "$dir/node_modules/installed.json"
}

ensure_deny() {
  have cargo-deny && return
  note "building cargo-deny into $TOOLS"
  cargo install --quiet --locked --root "$TOOLS" cargo-deny@0.20.2
}
