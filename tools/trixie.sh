#!/usr/bin/env bash
# Runs a command of ./run in a Debian 13 (trixie) root of its own, as root.
#   trixie.sh FOLDER COMMAND...   FOLDER/root is made on the first call and used again afterwards
# Exit status: that of the command; 77 when such a root cannot be made or used here.
# Mounts live in a mount namespace of this script, so nothing is left behind however it ends.
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/setup.sh"

folder=$1
shift
root=$folder/root
certificates=/etc/ssl/certs/ca-certificates.crt
own_certificates=/etc/ssl/machine.crt  # this machine's, in the root; its packages write the others

cannot() { fail "$exit_unavailable" "cannot test on Debian 13 here: $*"; }

# The Debian mirror that this machine's own apt uses.
# shellcheck disable=SC2016  # apt-get fills these in
mirror() {
  local codename
  codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
  apt-get indextargets --format '$(LABEL) $(RELEASE) $(COMPONENT) $(REPO_URI)' \
    'Created-By: Packages' 2>/dev/null |
    awk -v codename="$codename" '
      $2 == codename && $3 == "main" && ($1 == "Debian" || fallback == "") { fallback = $4
        if ($1 == "Debian") exit }
      END { print fallback }'
}

# The machine's own settings for apt's downloads (proxies, retries, checks), for the new root.
download_settings() {
  apt-config dump | grep -E '^Acquire::(https?|ftp|Retries|Check-|ForceIPv)' | grep -v '""' || true
}

proxy_of_apt() { apt-config dump --format '%v%n' "Acquire::$1::Proxy" | tail -n 1; }

make_root() {
  command -v debootstrap >/dev/null || cannot "there is no debootstrap"
  local uri log=$folder/debootstrap.log
  uri=$(mirror)
  [ -n "$uri" ] || cannot "this machine's apt names no Debian mirror (apt-get indextargets)"
  export http_proxy=${http_proxy:-$(proxy_of_apt http)}
  export https_proxy=${https_proxy:-$(proxy_of_apt https)}

  say "make a Debian 13 root in $root from $uri"
  rm -rf "$folder/partial"
  debootstrap --variant=minbase trixie "$folder/partial" "$uri" >"$log" 2>&1 || {
    tail -n 5 "$log" >&2
    cannot "debootstrap failed (all it said: $log)"
  }
  download_settings >"$folder/partial/etc/apt/apt.conf.d/90machine"
  echo 'APT::Keep-Downloaded-Packages "false";' >"$folder/partial/etc/apt/apt.conf.d/91lean"
  printf '%s\n' force-unsafe-io 'path-exclude=/usr/share/doc/*' 'path-exclude=/usr/share/man/*' \
    'path-exclude=/usr/share/locale/*' >"$folder/partial/etc/dpkg/dpkg.cfg.d/lean"
  if [ -e "$certificates" ]; then
    mkdir -p "$folder/partial/etc/ssl/certs"
    cp -L "$certificates" "$folder/partial$certificates"
  fi
  mv "$folder/partial" "$root"
}

# In the mount namespace: the project appears read-only at /mixofshow, builds go to /build.
enter_root() {
  local place
  for place in proc sys dev; do
    mount --rbind "/$place" "$root/$place"
  done
  mkdir -p "$root/mixofshow" "$root/build"
  mount --bind "$project_root" "$root/mixofshow"
  mount -o remount,bind,ro "$root/mixofshow"
  cp -L /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null || true
  local pip_certificates=
  if [ -e "$certificates" ]; then
    cp -L "$certificates" "$root$own_certificates"
    pip_certificates=$own_certificates
  fi
  exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 \
    TERM="${TERM:-dumb}" MOS_BUILD_ROOT=/build CCACHE_DIR=/build/ccache \
    http_proxy="${http_proxy:-}" https_proxy="${https_proxy:-}" \
    PIP_CERT="$pip_certificates" PIP_INDEX_URL="${PIP_INDEX_URL:-}" /mixofshow/run "$@"
}

[ "$(id -u)" -eq 0 ] || cannot "it takes root (chroot and mounts)"
if [ "$1" = --enter ]; then
  shift
  enter_root "$@"
fi
mkdir -p "$folder"
exec 9>"$folder/lock"
flock --nonblock 9 || cannot "another run is using $root"
unshare --mount true 2>/dev/null || cannot "mounts are not permitted (unshare --mount)"
[ -d "$root" ] || make_root
say "./run $* on Debian 13 in $root"
unshare --mount --propagation private "${BASH_SOURCE[0]}" "$folder" --enter "$@"
