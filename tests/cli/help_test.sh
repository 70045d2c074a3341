#!/usr/bin/env bash
# Every command explains itself, and what is mistyped is named with what was probably meant.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

accepts "mos --help lists the commands" --help
commands=$(awk '/^  [a-z]/ { print $1 }' <<<"$out")
for command in tune fuse sample demo pretrain; do
  holds "the list has $command" grep -qx "$command" <<<"$commands"
done
for command in $commands; do
  accepts "mos $command --help succeeds" "$command" --help
  holds "mos $command --help says how to use it" grep -q "usage: mos $command" <<<"$out"
  holds "mos $command --help says nothing on stderr" test -z "$err"
done

for stage in data vae towers unet accept export; do
  accepts "mos pretrain $stage --help succeeds" pretrain "$stage" --help
  holds "mos pretrain $stage --help lists its options" grep -q '^  --' <<<"$out"
  holds "as mos help pretrain $stage does" diff <("$mos" help pretrain "$stage") <(echo "$out")
  holds "mos pretrain $stage --help lists those of every command" grep -q -- '--progress' <<<"$out"
done

accepts "mos --version succeeds" --version
for part in LibTorch device dtype BLAS; do
  holds "mos --version names the $part" grep -qi "$part" <<<"$out"
done

# Whoever starts it, idle threads sleep and kernels are the same; what the caller has set is kept.
plain=$(env -i OMP_DISPLAY_ENV=true "$mos" --version 2>&1)
holds "idle threads sleep" grep -q "OMP_WAIT_POLICY = 'PASSIVE'" <<<"$plain"
holds "unless the caller wants them awake" grep -q "OMP_WAIT_POLICY = 'ACTIVE'" \
  <(env -i OMP_WAIT_POLICY=active OMP_DISPLAY_ENV=true "$mos" --version 2>&1)

accepts "mos help succeeds" help
accepts "mos help tune succeeds" help tune
holds "mos help tune is the help of tune" grep -q "usage: mos tune" <<<"$out"

run_mos
holds "mos alone shows the commands" grep -q "usage: mos" <<<"$out$err"
holds "mos alone is a wrong usage" test "$status" -eq "$exit_usage"

run_mos sample --help
grep -oE '^  --[a-z-]+' <<<"$out" | sort -u >options.txt
while read -r option; do
  holds "painting.md has $option of sample, or names its page" \
    grep -qE -- "$option([^a-z-]|\$)" "$project/docs/painting.md"
done <options.txt

refuses "an unknown command is named with the nearest" $exit_usage 'smple.*sample' smple
unknown=(--no-such-option 1)
refuses "tune refuses an unknown option" $exit_usage 'no-such-option' \
  tune --data input --out output/a.safetensors --base "$tiny_base" "${unknown[@]}"
refuses "fuse refuses an unknown option" $exit_usage 'no-such-option' \
  fuse --base "$tiny_base" --out output/model "${unknown[@]}" "$golden/fusion/edlora_0.safetensors"
refuses "sample refuses an unknown option" $exit_usage 'no-such-option' \
  sample --base "$tiny_base" --prompt "a dog" --out output/a.png "${unknown[@]}"
refuses "demo refuses an unknown option" $exit_usage 'no-such-option' demo "${unknown[@]}"
stray='"stray" belongs to no option'
refuses "tune refuses a stray word" $exit_usage "$stray" \
  tune --base "$tiny_base" --data input --out output/a.safetensors stray
refuses "sample refuses a stray word" $exit_usage "$stray" sample --prompt "a dog" stray
refuses "demo refuses a stray word" $exit_usage "$stray" demo stray
refuses "init-random refuses a stray word" $exit_usage "$stray" init-random --out output/model stray
refuses "a second value of a list says how lists are written" $exit_usage 'with commas between them' \
  sample --concept a --concept b --out output/x.png
refuses "a switch with a word behind it says how switches are set" $exit_usage '--overwrite=false' \
  tune --data x --use-masks no --out output/x.safetensors
refuses "pretrain refuses a stray word" $exit_usage "$stray" pretrain vae stray --out output/base
shipped=(--base "$project/base" --concepts "$project/base/concepts" --out output/demo
  --scene "$project/examples/demo-scene.json")
refuses "study needs concepts" $exit_usage 'needs --concepts' study --base "$tiny_base"
refuses "study names the part that was meant" $exit_usage 'tabel1.*table1' \
  study --base "$tiny_base" --concepts input --parts tabel1
refuses "demo refuses a concept that is not there before it tunes the others" $exit_format 'tedy' \
  demo "${shipped[@]}" --names wizard,teddy,racer,tedy
refuses "demo refuses a scene with a concept that is not tuned" $exit_usage '\{racer\}' \
  demo "${shipped[@]}" --names wizard,teddy
refuses "the nearest option is suggested" $exit_usage 'stesp.*steps' \
  tune --data input --out output/a.safetensors --base "$tiny_base" --stesp 5
refuses "an option given twice is refused" $exit_usage 'twice' \
  fuse --base "$tiny_base" --base "$tiny_base" --out output/model
refuses "an option without its value is refused" $exit_usage '--prompt needs a value' \
  sample --base "$tiny_base" --out output/a.png --prompt
refuses "an option before another one is not its value" $exit_usage '--negative-prompt needs' \
  sample --base "$tiny_base" --prompt "a dog" --negative-prompt --out output/a.png
refuses "a seed below 0 is refused" $exit_usage 'seed.*-1.*0 or a larger' \
  sample --base "$tiny_base" --prompt "a dog" --out output/a.png --seed -1
refuses "a number that is not finite is refused" $exit_usage 'guidance-scale.*nan.*a number' \
  sample --base "$tiny_base" --prompt "a dog" --out output/a.png --guidance-scale nan
refuses "a number that is none is refused" $exit_usage 'many.*whole number' \
  tune --data input --out output/a.safetensors --base "$tiny_base" --steps many
# Commands that have nothing to save or clean up end at once, with the same status as all.
mkfifo input/unread
exec 9<>input/unread
"$mos" help json >input/unread 2>/dev/null &
talking=$!
IFS= read -r -n 1 -u 9 _ # it talks by now, however long its libraries took to load
kill -TERM $talking
wait $talking
status=$?
exec 9>&-
holds "SIGTERM ends what only talks with 130" test "$status" -eq 130
finish
