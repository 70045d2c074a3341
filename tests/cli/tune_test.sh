#!/usr/bin/env bash
# mos tune: each problem of the data is named with its file before the work starts; an interrupted
# run goes on as if nothing had been.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

# PNG files, made by hand: a disc of 32x32 pixels, its mask, a black mask, a mask of 24x32.
picture=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAIAAAD8GO2jAAAAWUlEQVR42mP48OEOTRHDqAWjFsDQCRs5TEQdC7AaTbw1\
DJQYTYw1DFQxHY8dA2QBGabjsmMgLCDbdKx2jFowagFNLBj6GW1YFHb0qA/oUaPRqU4ebRcNeQsAr1q0ty9LHyYAAAAASUVORK5CYII=
mask=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAOklEQVR42mNgGH7gPwQQkMal5D8qICSPqYKQgv//CaggpOD/\
fwIqhocCygOKCpFFOD0QTlFEpMlBCwAAH2Or2tuChwAAAABJRU5ErkJggg==
black=iVBORw0KGgoAAAANSUhEUgAAACAAAAAgCAAAAABWESUoAAAAEklEQVR42mNgGAWjYBSMAuwAAAQgAAF8we+4AAAAAElFTkSu\
QmCC
narrow=iVBORw0KGgoAAAANSUhEUgAAABgAAAAgCAAAAAAtNefkAAAAE0lEQVR42mP4jwMwjEqMSoxKAACZJf0fsnyO5QAAAABJRU5E\
rkJggg==

# fresh_data: input/data with two pictures, a mask and a caption, nothing wrong.
fresh_data() {
  rm -rf input/data
  mkdir -p input/data/{images,masks,captions}
  base64 -d <<<"$picture" | tee input/data/images/b.png >input/data/images/a.png
  base64 -d <<<"$mask" >input/data/masks/a.png
  echo 'a photo of a <TOK> on grass' >input/data/captions/a.txt
  echo '{"words": ["<disc1>", "<disc2>"], "class_word": "ball"}' >input/data/concept.json
}

tune=(tune --base "$tiny_base" --data input/data --size 64 --batch 1 --variants 1
  --preview-pictures 0 --dtype float32)

# refuses_data PROMISE PATTERN: with the data as it is.
refuses_data() {
  refuses "$1" $exit_format "$2" "${tune[@]}" --steps 1 --out output/a.safetensors
  run_mos tune --base "$tiny_base" --data input/data --check
  holds "--check says so too: $1" test "$status" -eq $exit_format
}

refuses_data "a folder that is not there" 'input/data'
mkdir -p input/data/images
refuses_data "an empty folder" 'no pictures'
fresh_data
accepts "nothing wrong with good data" tune --base "$tiny_base" --data input/data --check
printf 'no picture' >input/data/images/c.png
refuses_data "a picture that is none" 'images/c.png'
fresh_data
head -c 100 input/data/images/a.png >input/data/images/c.png
refuses_data "a damaged picture" 'images/c.png'
fresh_data
base64 -d <<<"$narrow" >input/data/masks/a.png
refuses_data "a mask of another size" 'masks/a.png.*24x32.*32x32'
fresh_data
base64 -d <<<"$black" >input/data/masks/a.png
refuses_data "a mask that selects nothing" 'masks/a.png.*nothing'
fresh_data
mv input/data/masks/a.png input/data/masks/aa.png
refuses_data "a mask without a picture" 'masks/aa.png.*belongs to no picture'
fresh_data
mv input/data/captions/a.txt input/data/captions/z.txt
refuses_data "a caption without a picture" 'captions/z.txt'
fresh_data
base64 -d <<<"$black" >input/data/masks/a.png
printf 'no picture' >input/data/images/c.png
refuses_data "all problems are named, not only the first" 'c.png.*masks/a.png|masks/a.png.*c.png'

fresh_data
echo 'a photo of a lawn' >input/data/captions/a.txt
refuses "a caption without the concept" $exit_usage 'captions? of a lack.*<TOK>' \
  "${tune[@]}" --steps 1 --out output/a.safetensors
fresh_data
refuses "no steps" $exit_usage 'steps' "${tune[@]}" --steps 0 --out output/a.safetensors
refuses "a negative batch" $exit_usage 'batch' tune --base "$tiny_base" --data input/data --batch -1 \
  --out output/a.safetensors
refuses "a size that the base cannot paint" $exit_usage 'size' tune --base "$tiny_base" \
  --data input/data --size 50 --out output/a.safetensors
refuses "a result that is no .safetensors" $exit_usage '.safetensors' \
  "${tune[@]}" --steps 1 --out output/a.png
refuses "a folder that cannot be written" $exit_format '/proc/a.safetensors' \
  "${tune[@]}" --steps 1 --out /proc/a.safetensors
mkdir -p output/folder.safetensors
refuses "a folder in the place of the result" $exit_format 'folder.safetensors: it is a folder' \
  "${tune[@]}" --steps 1 --out output/folder.safetensors
touch output/file
refuses "a file in the place of the pictures" $exit_format 'output/file: it is a file' \
  tune --base "$tiny_base" --data input/data --previews output/file --out output/a.safetensors
long=output/$(printf 'x%.0s' {1..240}).safetensors
refuses "a name that leaves no room for the checkpoint's" $exit_format 'too long' \
  "${tune[@]}" --steps 1 --out "$long"
rm -r output/folder.safetensors output/file
cp "$tiny_base/unet/diffusion_pytorch_model.safetensors" output/weights.safetensors
check=(tune --base "$tiny_base" --data input/data --check)
refuses "--check looks at what will be written, too" $exit_usage 'weights.safetensors, which is not' \
  "${check[@]}" --out output/weights.safetensors
refuses "and at its folder" $exit_format 'not/there' "${check[@]}" --out not/there/a.safetensors
mkdir output/previews
cp input/data/images/a.png output/previews/step-000004-1.png
refuses "a picture of somebody else in the place of a later preview" $exit_usage \
  'step-000004-1.png, which is not' tune --base "$tiny_base" --data input/data --steps 6 \
  --preview-every 2 --previews output/previews --out output/a.safetensors
refuses "previews among the pictures" $exit_usage '--previews lies in the folder of --data' \
  tune --base "$tiny_base" --data input/data --previews input/data/images --out output/a.safetensors
cp input/data/images/a.png output/a.safetensors.checkpoint
refuses "--fresh on what is no checkpoint" $exit_usage 'a.safetensors.checkpoint, which is not' \
  "${tune[@]}" --steps 1 --fresh --out output/a.safetensors
rm -r output/*
for word in $'\xc2\xa0' $'a\xe3\x80\x80b' $'a\x01b' $'a\xe2\x80\x8bb' BREAK '<|endoftext|>' \
  '<lora:x:1>' '(x)' '{a|b}'; do
  refuses "the word $word" $exit_usage 'word .* cannot be tuned' \
    "${tune[@]}" --words "$word" --steps 1 --out output/a.safetensors
done
refuses "a base model that is not there" $exit_format 'input/absent' \
  tune --base input/absent --data input/data --out output/a.safetensors

# refuses_both PROMISE STATUS PATTERN ARGUMENT...: of a whole command --check says what it would say
# before it trains.
refuses_both() {
  local promise=$1 status=$2 pattern=$3 said
  shift 3
  refuses "$promise" "$status" "$pattern" "${tune[@]}" --steps 1 --out output/a.safetensors "$@"
  said=$(tail -n 1 "$scratch/stderr")
  refuses "--check, too: $promise" "$status" "$pattern" \
    "${tune[@]}" --steps 1 --out output/a.safetensors "$@" --check
  holds "in the same words" test "$said" = "$(tail -n 1 "$scratch/stderr")"
  refuses "without --out, too: $promise" "$status" "$pattern" "${tune[@]}" "$@" --check
}

rm input/data/concept.json
refuses_both "no words" $exit_usage 'no words; name them with --words' --class-word man
refuses_both "words that are none" $exit_usage 'no words?;|there is no word' --class-word man --words ""
refuses_both "words of commas" $exit_usage 'no words?;|there is no word' --class-word man --words " , "
refuses_both "class pictures of no class" $exit_usage 'class pictures need to know' \
  --words "<a1>" --prior 2
refuses_both "no class and no words" $exit_usage 'needs a class word' \
  --method custom_diffusion --rows none --rare-word ""
fresh_data
[ -e /dev/nvidiactl ] ||
  refuses_both "a device that is not there" $exit_device 'sees no CUDA device' --device cuda
refuses_both "a start of several tokens" $exit_usage 'initializer .* tokens' \
  --initializers "<rand-0.01>,antidisestablishment"
refuses_both "rates of zero" $exit_usage 'nothing would be trained' \
  --embedding-rate 0 --text-rate 0 --unet-rate 0
refuses_both "ranks and words of none" $exit_usage 'nothing would be trained' \
  --embedding-rate 0 --rank 0
refuses_both "more rows than a basis has" $exit_usage 'orthogonal basis' \
  --lora-start orthogonal --rank 500
refuses_both "a canvas of another base" $exit_usage 'size' --size 50

accepts "a trial of one step" "${tune[@]}" --steps 1 --out output/trial.safetensors --dry-run
holds "measures one" grep -q 'measured on 1 of 1 steps' <<<"$out"

long=("${tune[@]}" --steps 40 --checkpoint-every 1)
tune+=(--steps 6 --checkpoint-every 1)
estimates "a trial of tuning" "${tune[@]}" --out output/trial.safetensors
accepts "tuning" "${tune[@]}" --out output/whole.safetensors
"$mos" "${tune[@]}" --out output/parts.safetensors 2>stderr &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/parts.safetensors.checkpoint ]; do sleep 0.02; done
kill -INT $tuning 2>/dev/null
wait $tuning
status=$?
holds "Ctrl-C saves and ends with 130, unless the run was quicker" test $status -eq 130 -o $status -eq 0
accepts "the same command goes on" "${tune[@]}" --out output/parts.safetensors
holds "an interrupted run gives the same concept" \
  cmp output/whole.safetensors output/parts.safetensors
holds "and takes the checkpoint away" test ! -e output/parts.safetensors.checkpoint

# Another run to the same place that was stopped meanwhile: its checkpoint is all that there is of it.
"$mos" "${long[@]}" --seed 1 --out output/both.safetensors 2>/dev/null &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/both.safetensors.checkpoint ]; do sleep 0.02; done
kill -INT $tuning 2>/dev/null
wait $tuning
mv output/both.safetensors.checkpoint input/other
"$mos" "${long[@]}" --out output/both.safetensors 2>stderr &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/both.safetensors.checkpoint ]; do sleep 0.02; done
cp input/other output/both.part
mv output/both.part output/both.safetensors.checkpoint
wait $tuning
holds "a run beside a stopped one ends well" test -e output/both.safetensors
holds "leaves the checkpoint of that one" cmp input/other output/both.safetensors.checkpoint
holds "and says whose it is" grep -q '^warning: .*checkpoint stays: .*"seed" 1 instead of 0' stderr
accepts "--fresh gives it up" "${tune[@]}" --fresh --out output/both.safetensors
holds "and takes its own away" test ! -e output/both.safetensors.checkpoint

# A folder that appears in the place of the result while the run goes on.
"$mos" "${tune[@]}" --out output/late.safetensors 2>stderr &
tuning=$!
while kill -0 $tuning 2>/dev/null && [ ! -e output/late.safetensors.checkpoint ]; do sleep 0.02; done
mkdir output/late.safetensors
wait $tuning
status=$?
holds "a result that cannot be written ends with 3" test $status -eq $exit_format
holds "it says where the run is kept" grep -q 'kept in output/late.safetensors.checkpoint' stderr
cp output/late.safetensors.checkpoint input/checkpoint
rmdir output/late.safetensors
accepts "the same command writes it" "${tune[@]}" --out output/late.safetensors
holds "and it is the same concept" cmp output/whole.safetensors output/late.safetensors

# Class pictures are painted once, beside the data.
prior=(tune --base "$tiny_base" --data input/data/ --method dreambooth --size 64 --steps 1 --batch 1
  --preview-pictures 0 --dtype float32 --prior 2 --prior-steps 2)
refuses "class pictures among the concept's" $exit_usage '--prior-folder' \
  "${prior[@]}" --prior-folder input/data/prior --out output/prior.safetensors
accepts "tuning with class pictures" "${prior[@]}" --out output/prior.safetensors
holds "says that it paints them" grep -q 'painting 2 of 2 pictures of "a photo of a ball"' stderr
holds "and keeps them beside the data" test -e "$(echo input/data-prior/*/0001.png)"
cp -r input/data-prior prior-before
accepts "the next run" "${prior[@]}" --out output/again.safetensors
holds "takes the same ones" diff -r input/data-prior prior-before
holds "and gives the same concept" cmp output/prior.safetensors output/again.safetensors
accepts "another prompt" "${prior[@]}" --prior-prompt "a red ball" --out output/red.safetensors
holds "has pictures of its own" test "$(find input/data-prior -name prior.json | wc -l)" -eq 2
accepts "what was tuned so is painted" sample --base "$tiny_base" --concept output/prior.safetensors \
  --prompt "a sks ball" --height 64 --width 64 --steps 1 --out output/ball.png
accepts "and inspected" inspect output/prior.safetensors
holds "with its name" grep -q 'sks ball' <<<"$out"

head -c 200 input/checkpoint >output/whole.safetensors.checkpoint
refuses "a damaged checkpoint" $exit_format 'checkpoint.*--fresh' \
  "${tune[@]}" --out output/whole.safetensors
accepts "starting anew" "${tune[@]}" --out output/whole.safetensors --fresh
holds "gives the same concept" cmp output/whole.safetensors output/late.safetensors
finish
