#!/usr/bin/env bash
# check_layering.sh ROOT: fails on an #include in ROOT/mos or ROOT/apps that points upwards or to a
# sibling, and on a folder that the table below does not have.
set -euo pipefail
cd -- "$1"

# folder: the folders that it may include besides itself, directly or through others. This is the
# architecture: the models (nn) see no file, client (tune) and centre (fuse) share only concepts.
grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' mos apps --include='*.h' \
  --include='*.cpp' | awk -F: '
BEGIN {
  models = "base io text nn checkpoint diffusion"
  allow("base", "")
  allow("io", "base")
  allow("text", "base io")
  allow("nn", "base")
  allow("checkpoint", "base io text nn")
  allow("diffusion", "base io text nn checkpoint")
  allow("concepts", models)
  allow("train", "base io nn")
  allow("tune", models " concepts train")
  allow("fuse", models " concepts train")
  allow("region", models " concepts")
  allow("eval", models " concepts")
  allow("world", "base io text")
  allow("session", models " concepts region")
  allow("jobs", models " concepts tune fuse region eval session")
  allow("studio", "base")  # it knows jobs by their processes and the schema of their options
  allow("study", models " concepts tune fuse region eval session jobs world")
  allow("demo", models " concepts train tune fuse region eval session")
  allow("pretrain", models " concepts train eval world demo")
}
function allow(folder, lower,    names, count, i) {
  known[folder] = 1
  count = split(lower, names, " ")
  for (i = 1; i <= count; ++i) may[folder, names[i]] = 1
}
function report(why) {
  print $1 ":" $2 ": " why
  errors = 1
}
{
  split($1, path, "/")
  from = path[1] == "mos" ? path[2] : path[1]
  match($0, /"[^"]*"/)
  included = substr($0, RSTART + 1, RLENGTH - 2)
  split(included, target, "/")
  to = target[1] == "mos" ? target[2] : target[1]

  if (from == "apps")
    ;  # the command line may use everything
  else if (target[1] != "mos" && target[1] != "apps")
    report("\"" included "\" does not start at the root of the project")
  else if (!(from in known))
    report("mos/" from " is in no layer; add it to tests/layering/check_layering.sh")
  else if (to != from && !((from, to) in may))
    report("mos/" from " may not include \"" included "\"")
}
END {
  if (NR == 0) { print "there are no includes: is this the right folder?"; exit 1 }
  exit errors
}'
