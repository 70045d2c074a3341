# shellcheck shell=bash
# shellcheck disable=SC2034  # the lists are used by those that source this file
# What every script here shares: the Debian packages, the environment and the build. Sourced.

# The one list of Debian packages; both Debian 12 and Debian 13 have all of them.
build_packages=(
  g++ cmake ninja-build ccache pkg-config
  libtorch-dev libopenblas0-openmp
  nlohmann-json3-dev libyaml-cpp-dev libfmt-dev libutf8proc-dev libssl-dev
  libcpp-httplib-dev libsqlite3-dev
  libpng-dev zlib1g-dev libturbojpeg0-dev libwebp-dev
  libgtest-dev libgmock-dev
)
base_packages=(librsvg2-bin nodejs npm ca-certificates)  # artwork for the base model
page_packages=(nodejs npm)  # the page of mos studio
browser_packages=(chromium)  # that its tests look at it with
bench_packages=(libbenchmark-dev)
check_packages=(clang-format shellcheck)
trixie_packages=(debootstrap)
clients_packages=(  # what tests/clients/requirements.txt stands on
  python3-venv python3-torch python3-pil python3-importlib-metadata python3-filelock
  python3-fsspec python3-packaging python3-psutil python3-regex python3-requests python3-tqdm
  python3-typing-extensions python3-yaml
)

project_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
build_root=${MOS_BUILD_ROOT:-$project_root/build}

readonly exit_usage=2 exit_unavailable=77

say() { printf 'run: %s\n' "$*" >&2; }

fail() {
  local status=$1
  shift
  printf 'run: %s\n' "$*" >&2
  exit "$status"
}

minutes() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

can_be_root() { [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Prints those of its arguments that are neither installed Debian packages nor commands on the
# PATH, so that a Node.js or CMake from elsewhere is left alone.
missing_packages() {
  local package status
  for package in "$@"; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || status=absent
    [ "$status" = installed ] || command -v "$package" >/dev/null || printf '%s\n' "$package"
  done
}

install_packages() {
  command -v dpkg-query >/dev/null || {
    say "this is no Debian; needed are what Debian calls: $*"
    return 0
  }
  local missing log
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -eq 0 ] && return 0

  can_be_root || fail "$exit_unavailable" \
    "there is no sudo; run as root: apt-get install --no-install-recommends ${missing[*]}"
  say "install Debian packages: ${missing[*]}"
  log=$(mktemp)
  as_root apt-get -o DPkg::Lock::Timeout=300 update >"$log" 2>&1 ||
    say "apt-get update had trouble (see below if the packages cannot be installed)"
  if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install \
    -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 </dev/null; then
    tail -n 25 "$log" >&2
    fail 1 "apt-get could not install: ${missing[*]} (all it said: $log)"
  fi
  rm -f "$log"
}

# LibTorch calls whatever BLAS Debian's alternatives name; the reference one is 36 times slower
# than OpenBLAS. Any OpenBLAS that somebody chose is kept.
choose_openblas() {
  command -v update-alternatives >/dev/null || return 0
  local name current choice
  while read -r name _ current; do
    case $name in libblas.so.3-* | liblapack.so.3-*) ;; *) continue ;; esac
    case $current in *openblas*) continue ;; esac
    choice=$(update-alternatives --list "$name" | grep openblas-openmp | head -n 1)
    [ -n "$choice" ] || continue
    can_be_root || {
      say "slow: $name is $current; choose OpenBLAS with update-alternatives as root"
      continue
    }
    say "choose OpenBLAS for $name (it was $current)"
    as_root update-alternatives --set "$name" "$choice" >/dev/null
  done < <(update-alternatives --get-selections)
}

# What apps/mos/environment.cpp sets for the program itself, for tests and benchmarks.
set_environment() {
  export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
  export GLIBC_TUNABLES=${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}
  local flag
  for flag in avx512f avx512bw avx512dq avx512vl; do
    grep -qw "$flag" /proc/cpuinfo || return 0
  done
  export ATEN_CPU_CAPABILITY=${ATEN_CPU_CAPABILITY:-avx512}
}

# As many compilers as there are cores, but one for each 1.5 GB of free memory at most.
build_jobs() {
  local cores by_memory
  cores=$(nproc)
  by_memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo)
  [ "$by_memory" -ge 1 ] || by_memory=1
  echo $((cores < by_memory ? cores : by_memory))
}

# ccache: the precompiled headers ask for this sloppiness (ccache's manual, "Precompiled headers");
# with a base folder one clone finds what another has compiled.
set_ccache() {
  export CCACHE_SLOPPINESS=${CCACHE_SLOPPINESS:-pch_defines,time_macros}
  export CCACHE_BASEDIR=${CCACHE_BASEDIR:-$project_root}
}

# configure PRESET [OPTION...]: cmake for build/PRESET.
configure() {
  local preset=$1
  shift
  (cd "$project_root" && cmake --preset "$preset" -B "$build_root/$preset" "$@") >&2 ||
    fail 1 "cmake could not configure $build_root/$preset"
}

# build PRESET [TARGET...]: brings build/PRESET up to date.
build() {
  local preset=$1 folder=$build_root/$1 jobs
  shift
  set_ccache
  jobs=$(build_jobs)
  say "build $preset with $jobs jobs in $folder"
  if [ ! -e "$folder/build.ninja" ] || [ "$project_root/CMakePresets.json" -nt "$folder/build.ninja" ]
  then
    configure "$preset"
  fi
  # Two builds at once would write the same files.
  flock "$build_root/$preset.lock" ninja -C "$folder" -j "$jobs" "$@" >&2 ||
    fail 1 "the build of $preset failed"
}
