#!/usr/bin/env bash
# The studio as a program: it costs little while it waits, takes pictures as the readers do, and
# neither its end nor that of a job loses anything.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

[ -x "$(dirname -- "$mos")/mos-studio" ] || {
  echo "skipped: the studio was left out of this build"
  exit $exit_skipped
}
server=0
trap 'kill -9 "$server" 2>/dev/null; touch go; rm -rf "$scratch"' EXIT

# start_studio [OPTION...]: serves folder/ with the tiny model; $server is its process, $port where.
start_studio() {
  : >address.txt
  "$mos" studio --port 0 --folder folder --base "$tiny_base" "$@" >address.txt 2>talk.txt &
  server=$!
  for _ in {1..600}; do
    [ -s address.txt ] && break
    sleep 0.1
  done
  port=$(sed -n 's|^http://127.0.0.1:\([0-9]*\)/.*$|\1|p' address.txt)
}

# ask METHOD PATH [BODY [TYPE]]: $reply is the answer's body, $status its status.
ask() {
  local body=${3:-} type=${4:-application/json}
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf '%s %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: %s\r\nContent-Length: %s\r\n\r\n%s' \
    "$1" "$2" "$port" "$type" "${#body}" "$body" >&3
  cat <&3 >answer
  exec 3>&-
  status=$(head -c 12 answer | tail -c 3)
  reply=$(tail -n 1 answer)
}

# put PATH FILE: sends a file as it is.
put() {
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'PUT %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nContent-Type: image/png\r\nContent-Length: %s\r\n\r\n' \
    "$1" "$port" "$(stat -c %s "$2")" >&3
  cat "$2" >&3
  cat <&3 >answer
  exec 3>&-
  status=$(head -c 12 answer | tail -c 3)
  reply=$(tail -n 1 answer)
}

# until_state ID STATE: waits until the job is in this state, five minutes at most.
until_state() {
  for _ in {1..1500}; do
    ask GET "/mos/v1/jobs/$1"
    [[ $reply == *"\"state\":\"$2\""* ]] && return 0
    sleep 0.2
  done
  echo "job $1 is not $2: $reply"
  return 1
}

start_studio
holds "it says where it listens" test -n "$port"
ask GET /mos/v1/info
holds "and answers" test "$status" = 200
kilobytes=$(awk '/^VmRSS/ { print $2 }' "/proc/$server/status")
holds "it waits in 60 MB, not $kilobytes kB" test "$kilobytes" -le 60000
# The least of three waits: what it had begun before is not its idling.
ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }
idle=999
for _ in 1 2 3; do
  before=$(ticks)
  sleep 3
  spent=$(($(ticks) - before))
  idle=$((spent < idle ? spent : idle))
  [ $idle -gt 3 ] || break
done
holds "and at 1 % of a core, not $idle ticks in 3 s" test $idle -le 3

run_mos studio --port 0 --folder folder
holds "a second one for the same folder is refused" test "$status" -eq $exit_usage

ask POST /mos/v1/concepts '{"name":"teddy","words":["<teddy1>","<teddy2>"],"class_word":"cat"}'
holds "a concept is made" test "$status" = 201
data=$project/base/concepts/teddy
for i in 00 01; do put "/mos/v1/concepts/teddy/pictures/$i.png" "$data/images/$i.png"; done
holds "with pictures" test "$status" = 201
put /mos/v1/concepts/teddy/masks/00 "$data/masks/00.png"
holds "and a mask" test "$status" = 201
put /mos/v1/concepts/teddy/masks/00 "$data/images/00.png"
holds "a photo is refused as one" test "$status" = 422
holds "because it is in colours" grep -q 'colour' <<<"$reply"
holds "and the mask that was there stays" cmp -s "$data/masks/00.png" folder/concepts/teddy/masks/00.png
put /mos/v1/concepts/teddy/pictures/bad.png "$project/README.md"
holds "what is no picture is refused" test "$status" = 422
ask GET /mos/v1/concepts/teddy
holds "the concept is shown as tuning sees it" grep -q '"crops":\[{"source"' <<<"$reply"

tune='"kind":"tune","options":{"data":"concepts/teddy","size":64,"batch":1,"dtype":"float32"'
tune+=',"preview_pictures":0,"checkpoint_every":2,"seed":1'
ask POST /mos/v1/jobs "{$tune,\"steps\":16}}"
holds "tuning is queued" test "$status" = 201
until_state 1 running
for _ in {1..300}; do
  ls folder/concept-files/*.checkpoint >/dev/null 2>&1 && break
  sleep 0.1
done
kill -9 "$server"
wait "$server" 2>/dev/null
start_studio
holds "a server that was killed says what it finds" grep -q "job 1 (tune teddy)" talk.txt
ask GET /mos/v1/jobs/1
job=
for process in $(pgrep -f "tune --config jobs/1/job.json"); do
  [ "$(readlink "/proc/$process/cwd")" = "$(realpath folder)" ] && job=$process
done
if [ -n "$job" ]; then
  kill -9 "$job"
  holds "a job that was killed is interrupted" until_state 1 interrupted
  ask POST /mos/v1/jobs/1/resume
fi
holds "and goes on from its checkpoint to its end" until_state 1 "done"
holds "with one result" test -s folder/concept-files/teddy.safetensors

# What is certain to fail is said before it is queued.
# check_and_refuse PROMISE PATTERN JOB
check_and_refuse() {
  ask POST /mos/v1/check "$3"
  holds "$1 is a problem" grep -qE "\"problems\":\[\".*$2" <<<"$reply"
  ask POST /mos/v1/jobs "$3"
  holds "and no job" test "$status" = 400
}
check_and_refuse "a word that nobody has" '<nobody1>' \
  '{"kind":"sample","options":{"prompt":"a <nobody1>","height":64,"width":64}}'
check_and_refuse "a LoRA that is not there" '<lora:nobody>' \
  '{"kind":"sample","options":{"prompt":"a dog <lora:nobody:0.7>"}}'
check_and_refuse "a width that the model cannot have" '100' \
  '{"kind":"sample","options":{"prompt":"a dog","width":100}}'
check_and_refuse "a key that no scene has" 'regoins' \
  '{"kind":"sample","scene":{"prompt":"a dog","regoins":[]}}'
check_and_refuse "measuring nothing" 'pictures' '{"kind":"evaluate","options":{"prompt":"a dog"}}'
ask POST /mos/v1/concepts '{"name":"empty","words":["<e>"]}'
check_and_refuse "a concept without pictures" 'picture' \
  '{"kind":"tune","options":{"data":"concepts/empty","size":64}}'
ask POST /mos/v1/check '{"kind":"sample","options":{"prompt":"a <teddy1> <teddy2>","concept":["concept-files/teddy.safetensors"],"height":64,"width":64}}'
holds "what can be painted has no problem" grep -q '"problems":\[\]' <<<"$reply"

ask POST /mos/v1/jobs '{"kind":"sample","options":{"prompt":"a dog","height":64,"width":64,"steps":2}}'
holds "a picture is painted" until_state 2 "done"
ask GET "/mos/v1/gallery?search=dog"
holds "and is in the gallery" grep -q '"path":"gallery/2.png"' <<<"$reply"
ask POST /sdapi/v1/txt2img '{"prompt":"a cat","height":64,"width":64,"steps":2,"seed":3}'
holds "A1111's clients get theirs" grep -q 'all_seeds\\":\[3\]' <<<"$reply"
kill "$server"
wait "$server"
holds "it ends when it is told to" test $? -eq 0

# With a scene and its concepts.
cat >input/meadow.json <<'JSON'
{"prompt": "sea", "regions": [{"prompt": "a <hina1> <hina2>", "mask": "input/mask.png"}]}
JSON
cp "$data/masks/00.png" input/mask.png
opening=(--scene input/meadow.json --concept "$golden/fusion/edlora_0.safetensors")
start_studio "${opening[@]}"
holds "a scene is opened by its address" grep -q '/#/compose/1$' address.txt
ask GET /mos/v1/projects/1
holds "as a project with its mask in the folder" grep -q '"mask":"uploads/mask.png"' <<<"$reply"
ask GET /mos/v1/concept-files
holds "and its concept is there" grep -q '"path":"concept-files/edlora_0.safetensors"' <<<"$reply"
kill "$server"
wait "$server"
start_studio "${opening[@]}"
holds "the same scene is not doubled" grep -q '/#/compose/1$' address.txt
kill "$server"
wait "$server"
echo '[]' >input/list.json
refuses "a scene that is none" $exit_format 'no scene' studio --port 0 --folder folder \
  --scene input/list.json
refuses "a base that is no model" $exit_format 'input' studio --port 0 --folder folder --base input
refuses "a concept that is none" $exit_format 'README' studio --port 0 --folder folder \
  --concept "$project/README.md"
holds "and nothing of them is in the folder" test ! -e folder/models/input -a ! -e folder/concept-files/README.md
refuses "a concept that is not there" $exit_format 'absent' studio --port 0 --folder folder \
  --concept absent.safetensors
finish
