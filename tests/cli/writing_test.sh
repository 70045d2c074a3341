#!/usr/bin/env bash
# Nothing of the user's is lost, whatever is written where: what is never replaced, what a failure
# and an interruption leave behind.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

first=$golden/fusion/edlora_0.safetensors
second=$golden/fusion/edlora_1.safetensors
fuse=(fuse --base "$tiny_base" --method weight)
sample=(sample --base "$tiny_base" --height 64 --width 64 --steps 1 --dtype float32)

# keeps PROMISE FILE STATUS PATTERN ARGUMENT...: refuses, and FILE (or a folder) is as it was.
keeps() {
  local promise=$1 file=$2 before
  shift 2
  before=$(find "$file" -type f -exec sha256sum {} + | sort)
  refuses "$promise" "$@"
  holds "and it is as it was" test "$before" = "$(find "$file" -type f -exec sha256sum {} + | sort)"
}

# interrupt SIGNAL FOLDER ARGUMENT...: starts `mos ARGUMENT...`, sends SIGNAL as soon as something of
# the result is in FOLDER (what only tries whether it can be written is empty, and gone again soon);
# $status is what it ended with.
interrupt() {
  local signal=$1 folder=$2 process
  shift 2
  # Whatever started this test may have it ignored.
  env --default-signal=HUP "$mos" "$@" >"$scratch/stdout" 2>"$scratch/stderr" </dev/null &
  process=$!
  while kill -0 $process 2>/dev/null; do
    [ -n "$(find "$folder" -path "$folder/.*.part*" -type f -size +0 2>/dev/null)" ] &&
      kill -"$signal" $process && break
  done
  wait $process 2>/dev/null
  status=$?
}

# partial_files: how many there are, each with all that is in it.
partial_files() { find output -name '.*.part' -prune -print | wc -l; }

# ---- What --overwrite replaces ----

mkdir -p output/work/inner output/mine
echo mine >output/work/notes.txt
echo mine >output/mine/notes.txt
echo mine >output/file
cd output/work || exit 1
for folder in . ./ .. ../work ../work/. ../..; do
  refuses_here="the working folder as $folder"
  run_mos "${fuse[@]}" --out "$folder" --overwrite "$first"
  holds "$refuses_here is never replaced" test "$status" -eq $exit_usage
  holds "and says why" grep -q 'working folder' <<<"$err"
done
cd "$scratch" || exit 1
holds "nothing in it is gone" test -e output/work/notes.txt -a -d output/work/inner
keeps "a folder of other things is not replaced" output/mine $exit_usage 'notes.txt.*no part of' \
  "${fuse[@]}" --out output/mine --overwrite "$first"
keeps "nor is a file, by a folder" output/file $exit_usage 'no folder' \
  "${fuse[@]}" --out output/file --overwrite "$first"
accepts "a model is written" "${fuse[@]}" --out output/model "$first"
accepts "and replaced" "${fuse[@]}" --out output/model --overwrite "$second"
holds "by the new one" grep -q kaori output/model/new_concept_cfg.json
holds "and nothing is left over" test "$(partial_files)" -eq 0
echo mine >output/model/notes.txt
keeps "a model with other things in it is not" output/model $exit_usage 'notes.txt' \
  "${fuse[@]}" --out output/model --overwrite "$first"
rm output/model/notes.txt
echo mine >output/model/unet/notes.txt
keeps "nor one with other files in its folders" output/model $exit_usage 'unet/notes.txt, which' \
  "${fuse[@]}" --out output/model --overwrite "$first"
rm output/model/unet/notes.txt
mkdir output/model/vae/mine
keeps "nor with other folders there" output/model $exit_usage 'vae/mine, which' \
  "${fuse[@]}" --out output/model --overwrite "$first"
rmdir output/model/vae/mine
ln -s ../../mine output/model/tokenizer/link
keeps "nor with links" output/model $exit_usage 'tokenizer/link, which' \
  convert "$tiny_base" --out output/model --overwrite
rm output/model/tokenizer/link
refuses "a folder that exists, with the option that replaces it" $exit_usage 'add --overwrite' \
  convert "$tiny_base" --out output/model
keeps "nor is the base model itself" output/model $exit_usage '--out would take the place of --base' \
  fuse --base output/model --method weight --out output/model --overwrite "$first"
keeps "nor a folder with an input in it" output/model $exit_usage 'lies in the folder of --out' \
  fuse --base output/model --method weight --out output --overwrite "$first"
ln -s model output/link
accepts "a link to a model" "${fuse[@]}" --out output/link --overwrite "$first"
holds "stays a link" test -L output/link
holds "and leads to the new model" grep -q hina output/model/new_concept_cfg.json

# ---- Outputs are distinct from inputs and from each other ----

echo '{"prompt": "a beach"}' >output/beach.json
keeps "a record does not take the place of the scene" output/beach.json $exit_usage \
  'the record beside --out would take the place of --scene' \
  "${sample[@]}" --scene output/beach.json --out output/beach.png
echo '{"steps": 1}' >output/options.json
keeps "nor of the options" output/options.json $exit_usage 'the place of --config' \
  "${sample[@]}" --prompt x --config output/options.json --out output/options.png
echo '{"name": "mine"}' >output/package.json
keeps "nor of a file of somebody else" output/package.json $exit_usage 'not a record' \
  "${sample[@]}" --prompt x --out output/package.png
keeps "nor does a report" output/package.json $exit_usage 'not a report' \
  "${fuse[@]}" --report output/package.json --lora output/a.safetensors "$first"
accepts "a picture" "${sample[@]}" --prompt x --out output/a.png
keeps "a report does not replace its record" output/a.json $exit_usage 'not a report' \
  "${fuse[@]}" --report output/a.json --lora output/a.safetensors "$first"
keeps "nor do its figures" output/a.json $exit_usage 'not a report' \
  evaluate output/a.png --prompt x --out output/a.json
accepts "is painted again over itself" "${sample[@]}" --prompt y --out output/a.png
cp "$project/base/contact_sheet.png" output/photo.png
keeps "a picture of somebody else is not replaced" output/photo.png $exit_usage 'photo.png.*not' \
  "${sample[@]}" --prompt x --out output/photo.png
keeps "nor the photo of a condition picture" output/photo.png $exit_usage 'the place of the photo' \
  condition output/photo.png --out output/photo.png
keeps "nor does a condition picture replace one of somebody else" output/photo.png $exit_usage \
  'photo.png, which is not' condition output/a.png --out output/photo.png
accepts "a condition picture" condition output/photo.png --out output/edges.png
accepts "is made again over itself" condition output/photo.png --blur 2 --out output/edges.png
refuses "and is not painted again, as nobody painted it" $exit_format 'mos condition made it' \
  sample --rerun output/edges.png --out output/c.png
refuses "the grid is not one of the pictures" $exit_usage '--grid would take the place of --out' \
  "${sample[@]}" --prompt x --count 2 --seed 1 --out output/b.png --grid output/b-2.png
refuses "the report is not the LoRA" $exit_usage '--lora.*--report|--report.*--lora' \
  "${fuse[@]}" --lora output/x.safetensors --report output/x.safetensors "$first"
cp "$first" output/concept.safetensors
keeps "a concept is not converted into itself" output/concept.safetensors $exit_usage \
  '--out would take the place of the concept' \
  convert output/concept.safetensors --out output/./concept.safetensors --dtype float16
ln output/concept.safetensors output/other-name.safetensors
keeps "under whatever name" output/concept.safetensors $exit_usage 'the place of the concept' \
  convert output/concept.safetensors --out output/other-name.safetensors --dtype float16
keeps "fusion does not take the place of a concept" output/concept.safetensors $exit_usage \
  '--lora would take the place of the concept' \
  "${fuse[@]}" output/concept.safetensors --lora output/concept.safetensors
cp "$tiny_base/unet/diffusion_pytorch_model.safetensors" output/unet.safetensors
keeps "nor that of the weights of a model" output/unet.safetensors $exit_usage \
  'not a concept' "${fuse[@]}" "$first" --lora output/unet.safetensors
keeps "a report is no part of the model" output/model $exit_usage 'part of the model' \
  "${fuse[@]}" "$first" --out output/new --report output/new/model_index.json
keeps "a LoRA does not go into the folder of the model" output/model $exit_usage \
  'lies in the folder of --out' "${fuse[@]}" "$first" --out output/new --lora output/new/a.safetensors

# ---- Places that are no places ----

mkdir output/folder.safetensors output/folder.png
refuses "a LoRA on a folder" $exit_format 'folder.safetensors.*it is a folder' \
  "${fuse[@]}" "$first" --lora output/folder.safetensors
ln -s /dev/null output/device.safetensors
refuses "a LoRA on a device" $exit_format 'no plain file' \
  "${fuse[@]}" "$first" --lora output/device.safetensors
refuses "a name that is too long" $exit_format 'name is too long' "${fuse[@]}" "$first" \
  --lora "output/$(printf 'x%.0s' {1..250}).safetensors"
long=$(printf 'x%.0s' {1..300})
refuses "of a model" $exit_format '--out .* name is too long' "${fuse[@]}" "$first" --out "$long"
refuses "of a converted one" $exit_format '--out .* name is too long' \
  convert "$tiny_base" --out "$long.safetensors"
refuses "of a picture" $exit_format '--out .* name is too long' "${sample[@]}" --prompt x \
  --out "$long.png"
for ending in ckpt pth pt safetensor txt; do
  refuses "no model is written as a .$ending, nor a folder of that name" $exit_usage \
    "written as a folder or .*\.safetensors, not as .$ending" \
    "${fuse[@]}" "$first" --out output/x.$ending
done
refuses "a report with the model's own name" $exit_usage 'the place of --out' \
  "${fuse[@]}" "$first" --out same --report same
TMPDIR=$scratch/none refuses "a TMPDIR that is no folder" $exit_format 'TMPDIR=.*no folder' \
  fuse --base "$tiny_base" "$first" --lora output/x.safetensors
accepts "a single file" "${fuse[@]}" "$first" --out output/../output/single.safetensors
holds "the file is there" test -s output/single.safetensors
holds "and the report beside it, under its name" grep -q threads output/single.fusion_report.json

# ---- What stays as the user has it ----

chmod 600 output/concept.safetensors
cp -p output/concept.safetensors output/private.safetensors
ln -s private.safetensors output/shortcut.safetensors
accepts "a file behind a link is replaced" "${fuse[@]}" "$first" "$second" \
  --lora output/shortcut.safetensors
holds "the link stays" test -L output/shortcut.safetensors
holds "as do the permissions" test "$(stat -c %a output/private.safetensors)" = 600

# ---- Interruptions ----

big=(init-random --config sd15)
for signal in INT TERM HUP; do
  rm -rf output/*
  interrupt $signal output "${big[@]}" --out output/big
  holds "SIG$signal while a model is written ends with 130" test "$status" -eq 130
  holds "and leaves nothing" test "$(find output -mindepth 1)" = ""
done
interrupt HUP output "${big[@]}" --out output/big.safetensors
holds "the same of a single file" test "$status" -eq 130 -a "$(find output -mindepth 1)" = ""

mkdir output/sub
interrupt KILL output "${big[@]}" --out output/big
interrupt KILL output/sub "${big[@]}" --out output/sub/big.safetensors
holds "a killed process leaves partial files" test "$(partial_files)" -eq 2
accepts "the next command" "${fuse[@]}" "$first" --lora output/x.safetensors
holds "clears those where it writes" test "$(partial_files)" -eq 1
accepts "another one" "${fuse[@]}" "$first" --lora output/sub/x.safetensors
holds "clears the others" test "$(partial_files)" -eq 0

# ---- A closed terminal ----

mkdir -p input/data/images
cp "$project"/base/concepts/wizard/images/0[01].png input/data/images
tune=(tune --base "$tiny_base" --data input/data --words "<fox1>,<fox2>" --class-word fox --size 64
  --batch 1 --variants 1 --steps 6 --checkpoint-every 1 --preview-pictures 0 --dtype float32)
rm -rf output/*
accepts "a run of tuning" "${tune[@]}" --out output/whole.safetensors
env --default-signal=HUP "$mos" "${tune[@]}" --out output/parts.safetensors 2>"$scratch/stderr" &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/parts.safetensors.checkpoint ]; do sleep 0.02; done
kill -HUP $tuning 2>/dev/null
wait $tuning
status=$?
holds "ends with 130 on SIGHUP, unless it was quicker" test $status -eq 130 -o $status -eq 0
accepts "and goes on with the same command" "${tune[@]}" --out output/parts.safetensors
holds "to the same concept" cmp output/whole.safetensors output/parts.safetensors
env --ignore-signal=HUP "$mos" "${tune[@]}" --out output/nohup.safetensors 2>"$scratch/stderr" &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/nohup.safetensors.checkpoint ]; do sleep 0.02; done
kill -HUP $tuning 2>/dev/null
wait $tuning
status=$?
holds "under nohup SIGHUP changes nothing" test $status -eq 0
"$mos" "${tune[@]}" --out output/unheard.safetensors 2> >(exec head -c 1 >/dev/null)
status=$?
holds "nor does it when nobody hears what is said" test $status -eq 0
holds "and the concept is the same" cmp output/whole.safetensors output/unheard.safetensors

# ---- What appears meanwhile ----

# appears WHAT PLACE PATTERN ARGUMENT...: starts `mos ARGUMENT...`, puts something of the user's at
# PLACE (file or folder) once PATTERN is said, and waits.
appears() {
  local what=$1 place=$2 pattern=$3 process
  shift 3
  : >"$scratch/stderr"  # of the command before
  "$mos" "$@" >"$scratch/stdout" 2>"$scratch/stderr" </dev/null &
  process=$!
  while kill -0 $process 2>/dev/null && ! grep -q "$pattern" "$scratch/stderr"; do sleep 0.01; done
  if [ "$what" = folder ]; then mkdir "$place" && place=$place/notes; fi
  echo mine >"$place"
  wait $process
  status=$?
  holds "a $what at $place that came while mos $1 was at work stays" grep -q mine "$place"
  holds "and that is an error" test "$status" -eq $exit_format
  holds "which says where the result is" grep -q "the complete result is in .*$kept" "$scratch/stderr"
  holds "and it is there" test -e "$kept"
}
kept=output/late-2.safetensors
appears file output/late.safetensors 'tuning .* 1/6' "${tune[@]}" --out output/late.safetensors
kept=output/late-2.png
appears file output/late.png '/40' "${sample[@]:0:7}" --prompt x --steps 40 --out output/late.png
kept=output/fused-2
appears folder output/fused 'sampling' fuse --base "$tiny_base" "$first" --steps 2 --out output/fused
kept=output/lora-2.safetensors
appears file output/lora.safetensors 'sampling' fuse --base "$tiny_base" "$first" --steps 2 \
  --lora output/lora.safetensors
kept=output/single-2.safetensors
appears file output/single.safetensors 'sampling' fuse --base "$tiny_base" "$first" --steps 2 \
  --out output/single.safetensors

# ---- Trials ----

: >"$scratch/stderr"  # of the command before: a signal must find the program, not the shell's child
"$mos" fuse --base "$tiny_base" "$first" --steps 2 --lora output/x.safetensors --dry-run \
  >"$scratch/stdout" 2>"$scratch/stderr" </dev/null &
trial=$!
while kill -0 $trial 2>/dev/null && ! grep -q 'keys matched' "$scratch/stderr"; do sleep 0.01; done
kill -INT $trial 2>/dev/null
wait $trial
status=$?
holds "Ctrl-C ends a trial, unless it was quicker" test $status -eq 130 -o $status -eq 0
refuses "a trial takes --threads" $exit_usage "threads is 1000000" "${tune[@]}" --dry-run \
  --threads 1000000 --out output/y.safetensors

# ---- Limits ----

cat >limited <<END
#!/bin/sh
ulimit -f 8
exec "$mos" "\$@"
END
chmod +x limited
rm -rf output/*
unlimited=$mos
mos=$scratch/limited
refuses "a file that grows over a limit" $exit_format 'too large' \
  "${fuse[@]}" "$first" --lora output/x.safetensors
mos=$unlimited

# ---- Two writers ----

for i in 1 2 3; do
  "$mos" "${fuse[@]}" "$first" --out output/both --overwrite --lora output/both.safetensors \
    >"$scratch/one" 2>&1 &
  "$mos" "${fuse[@]}" "$second" --out output/both --overwrite --lora output/both.safetensors \
    >"$scratch/two" 2>&1 &
  wait
  accepts "what two processes wrote at once is a whole model ($i)" inspect output/both
  accepts "and a whole LoRA" inspect output/both.safetensors
done
holds "nothing else is left" test "$(ls -A output)" = "$(printf 'both\nboth.safetensors')"
finish
