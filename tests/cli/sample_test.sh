#!/usr/bin/env bash
# mos sample: what it refuses, and that a picture can be made again from itself.
source "$(dirname -- "${BASH_SOURCE[0]}")/cli.sh"

first=$golden/fusion/edlora_0.safetensors   # <hina1> <hina2>
second=$golden/fusion/edlora_1.safetensors  # <kaori1> <kaori2>
size=(--height 128 --width 128)
sample=(sample --base "$tiny_base" "${size[@]}" --steps 2 --dtype float32)
plain=("${sample[@]}" --prompt "a dog on grass" --out output/a.png)

refuses "sampling nothing" $exit_usage '--prompt' "${sample[@]}" --out output/a.png
refuses "a prompt without the words of the concept" $exit_usage 'hina1' \
  "${plain[@]}" --concept "$first"
refuses "a word that no concept has" $exit_usage '<hina3>.*<hina' "${sample[@]}" \
  --prompt "a <hina3> <hina1> <hina2>" --concept "$first" --out output/a.png
refuses "a concept that is not there" $exit_format 'absent' \
  "${sample[@]}" --prompt "a <cat1>" --concept input/absent.safetensors --out output/a.png
refuses "a base model that is not there" $exit_format 'input/absent' \
  sample --base input/absent --prompt "a dog" --out output/a.png
refuses "a height that the model cannot paint" $exit_usage '100.*multiples of 8' \
  sample --base "$tiny_base" --height 100 --width 128 --prompt "a dog" --out output/a.png
refuses "no steps" $exit_usage 'step' \
  sample --base "$tiny_base" "${size[@]}" --steps 0 --prompt "a dog" --out output/a.png
refuses "no pictures" $exit_usage 'count' "${plain[@]}" --count 0
refuses "an unknown scheduler" $exit_usage 'eulr.*euler' "${plain[@]}" --scheduler eulr
refuses "a device that is not there" 5 'device' "${plain[@]}" --device cuda:99
refuses "a folder that cannot be written" $exit_format '/proc' \
  "${sample[@]}" --prompt "a dog" --out /proc/a.png
refuses "a result that is no PNG" $exit_usage 'a.bmp' \
  "${sample[@]}" --prompt "a dog" --out output/a.bmp

# refuses_box PROMISE PATTERN BOX
refuses_box() {
  refuses "$1" $exit_usage "$2" "${plain[@]}" --regions "[a cat]-*-[]-*-[$3]"
}
refuses_box "a box outside the canvas" 'outside the canvas of 128 x 128' '0, 0, 129, 64'
refuses_box "a box that begins outside" 'outside' '-0.5, 0, 1, 1'
refuses_box "a box without area" 'no area' '10, 50, 64, 50'
refuses_box "a box upside down" 'no area' '0.8, 0, 0.2, 1'
refuses_box "a box of three numbers" 'four numbers' '0, 0, 64'
refuses_box "a box of words" 'not a number' 'top, left, bottom, right'
refuses "a region without its three parts" $exit_usage 'three' "${plain[@]}" --regions "a cat"

scene() { printf '%s' "$1" >input/scene.json; }
refuses_scene() {
  refuses "$1" "$2" "$3" "${sample[@]}" --scene input/scene.json --out output/a.png
}
scene '{"prompt": "grass", "regions": [{"prompt": "a cat", "box": [0, 0, 1, 0.5], "wieght": 1}]}'
refuses_scene "an unknown key in a region, with the nearest" $exit_usage 'wieght.*weight'
scene '{"prompt": "grass", "regions": [{"prompt": "", "box": [0, 0, 1, 0.5]}]}'
refuses_scene "a region without a prompt" $exit_usage 'no prompt'
scene '{"prompt": "grass", "regions": "left"}'
refuses_scene "regions that are no list" $exit_usage 'list'
scene '{"prompt": "grass", '
refuses_scene "a scene that is no JSON" $exit_format 'scene.json'

printf 'no picture' >input/picture.png
refuses "making a file again that is no picture" $exit_format 'picture.png' \
  sample --rerun input/picture.png
refuses "making a picture again that is not there" $exit_format 'absent.png' \
  sample --rerun input/absent.png

accepts "a scene with concepts in overlapping boxes" "${sample[@]}" --concept "$first,$second" \
  --prompt "two people on grass" --out output/scene.png --seed 5 \
  --regions "[a <hina1> <hina2>]-*-[]-*-[0, 0, 1, 0.6]|[<kaori1> <kaori2>]-*-[blurry]-*-[0, 0.4, 1, 1]"
holds "a sidecar lies beside the picture" grep -q '"seed": 5' output/scene.json
accepts "the picture is made again from itself" sample --rerun output/scene.png \
  --out output/again.png
holds "it is the same file, byte for byte" cmp output/scene.png output/again.png
holds "and so is the sidecar" cmp output/scene.json output/again.json

estimates "a trial of a picture" "${sample[@]}" --prompt "a dog" --out output/trial.png
accepts "several pictures and a grid" "${sample[@]}" --prompt "a dog" --count 3 --batch 2 --seed 1 \
  --out output/many --grid output/grid.png
for seed in 1 2 3; do
  holds "picture $seed is there" test -s "output/many/picture-$seed.png"
done
holds "the grid is there" test -s output/grid.png
accepts "one of a batch is made again" sample --rerun output/many/picture-2.png \
  --out output/two.png
holds "it is the same file too" cmp output/many/picture-2.png output/two.png
refuses "a grid is not made again" $exit_format 'grid' sample --rerun output/grid.png \
  --out output/b.png

cp "$first" input/moved.safetensors
accepts "a picture with a concept file" "${sample[@]}" --concept input/moved.safetensors \
  --prompt "<hina1> <hina2>" --out output/moved.png
cp "$second" input/moved.safetensors
refuses "a concept that has changed since" $exit_mismatch 'changed since' \
  sample --rerun output/moved.png --out output/c.png
# No base model where nobody named one.
mkdir output/elsewhere
cd output/elsewhere || exit 1
where='^mos: cannot load the model base: there is no such folder or file; ./base is the default, --base'
run_mos sample --prompt x --out x.png
holds "sample says where it looked for a base model" grep -qE -- "$where" <<<"$err"
run_mos evaluate "$project/base/contact_sheet.png" --prompt x
holds "evaluate says the same" grep -qE -- "$where" <<<"$err"
cd "$scratch" || exit 1
finish
